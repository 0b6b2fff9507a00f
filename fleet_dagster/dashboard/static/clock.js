// The server's time: a picture must not look old, or new, because the viewer's clock is wrong.

export class ServerClock {
  constructor() {
    this.ahead = 0;
  }

  /** Takes the server's instant, as it came. */
  set(instant) {
    this.ahead = Date.parse(instant) / 1000 - Date.now() / 1000;
  }

  /** Seconds since 1970, by the server. */
  now() {
    return Date.now() / 1000 + this.ahead;
  }
}

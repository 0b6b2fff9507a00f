// The stream of events. It is read with fetch, not EventSource: that hides why it failed, and waits when a socket merely hangs.

const SILENCE_MS = 3000;
const CHECK_MS = 250;
const PAUSES_MS = [250, 500, 1000, 2000, 4000];

/**
 * @typedef {object} Listener
 * @property {(name: string, data: any, id: string) => void} event snapshot or update
 * @property {(now: string) => void} beat
 * @property {(state: "connecting"|"live"|"lost") => void} state
 * @property {(reason: string) => void} end the token is no longer valid
 * @property {(problem: string) => void} problem why there is no stream, in words
 */

export class Connection {
  /** @param {string} fleet @param {Listener} listener */
  constructor(fleet, listener) {
    this.url = `/api/fleets/${encodeURIComponent(fleet)}/events`;
    this.listener = listener;
    this.lastId = "";
    this.failures = 0;
    this.isOver = false;
    this.isRunning = false;
    this.wasLive = false;
    this.heardAt = performance.now();
    this.timer = setInterval(() => this.check(), CHECK_MS);
    this.onWake = () => this.check();
    addEventListener("online", this.onWake);
    document.addEventListener("visibilitychange", this.onWake);
    listener.state("connecting");
    this.open();
  }

  close() {
    this.isOver = true;
    clearInterval(this.timer);
    clearTimeout(this.retry);
    removeEventListener("online", this.onWake);
    document.removeEventListener("visibilitychange", this.onWake);
    this.aborter?.abort();
  }

  /** Tries at once instead of after the pause. */
  retryNow() {
    clearTimeout(this.retry);
    this.failures = 0;
    this.aborter?.abort();
    this.open();
  }

  check() {
    if (this.isRunning && performance.now() - this.heardAt > SILENCE_MS) {
      this.lose(this.aborter, "nothing was heard for 3 s");
    }
  }

  async open() {
    if (this.isOver) return;
    const aborter = new AbortController();
    this.aborter = aborter;
    this.isRunning = true;
    this.heardAt = performance.now();
    try {
      await this.read(aborter);
      this.lose(aborter, "the server ended the stream");
    } catch (error) {
      this.lose(aborter, error.words ?? "the server does not answer");
    }
  }

  async read(aborter) {
    const headers = { Accept: "text/event-stream" };
    if (this.lastId) headers["Last-Event-ID"] = this.lastId;
    const answer = await fetch(this.url, { headers, signal: aborter.signal, cache: "no-store" });
    if (answer.status === 401) return this.finish("expired");
    if (!answer.ok) throw Object.assign(new Error(), { words: await wordsOf(answer) });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser((event) => this.take(aborter, event));
    for (;;) {
      const { done, value } = await reader.read();
      if (done || aborter.signal.aborted) return undefined;
      this.heardAt = performance.now();
      parser.feed(value);
    }
  }

  take(aborter, { name, data, id }) {
    if (aborter.signal.aborted || this.isOver) return;
    const content = JSON.parse(data);
    if (name === "end") {
      this.finish(content.reason);
      return;
    }
    this.failures = 0;
    if (name === "beat") {
      this.live();
      this.listener.beat(content);
    } else if (name === "snapshot" || name === "update") {
      if (id) this.lastId = id;
      this.live();
      this.listener.event(name, content, id);
    } else {
      this.listener.problem(content.error ?? content.problem ?? name);
    }
  }

  live() {
    if (this.isLive) return;
    this.isLive = true;
    this.wasLive = true;
    this.listener.state("live");
  }

  lose(aborter, problem) {
    if (this.isOver || aborter !== this.aborter || !this.isRunning) return;
    this.isRunning = false;
    this.isLive = false;
    aborter.abort();
    this.listener.state("lost");
    this.listener.problem(problem);
    const pause = PAUSES_MS[Math.min(this.failures, PAUSES_MS.length - 1)];
    this.failures += 1;
    // Half of it is chance: two hundred pages must not come back in the same instant.
    this.retry = setTimeout(() => this.open(), pause * (0.75 + Math.random() / 2));
  }

  finish(reason) {
    if (this.isOver) return;
    this.close();
    this.listener.end(reason);
  }
}

/** Takes a stream of text apart into events, as the standard for Server-Sent Events says. */
export class EventParser {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.begin();
  }

  begin() {
    this.name = "message";
    this.data = [];
    this.id = "";
  }

  feed(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    for (const line of lines) this.line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  line(line) {
    if (line === "") {
      if (this.data.length) this.onEvent({ name: this.name, data: this.data.join("\n"), id: this.id });
      this.begin();
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "event") this.name = value;
    else if (field === "data") this.data.push(value);
    else if (field === "id") this.id = value;
  }
}

async function wordsOf(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

// Requests. Every refusal carries the server's own words.

const PATIENCE_MS = 15000;

export class Refusal extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

export function session() {
  return ask("/api/session");
}

export function login(token) {
  return ask("/api/login", post({ token }));
}

export function logout() {
  return ask("/api/logout", post({}));
}

export function history(fleet, of, span, signal) {
  return ask(`${base(fleet)}/history?${query({ ...span, of })}`, { signal });
}

export function siteCourse(fleet, site, span, signal) {
  return ask(`${base(fleet)}/sites/${encodeURIComponent(site)}?${query(span)}`, { signal });
}

export function acknowledge(fleet, incident, said) {
  return ask(`${base(fleet)}/incidents/${encodeURIComponent(incident)}/acknowledge`, post(said));
}

export function endStorm(fleet, episode) {
  return ask(`${base(fleet)}/storms/${encodeURIComponent(episode)}/end`, post({}));
}

export function actions(fleet) {
  return ask(`${base(fleet)}/actions`);
}

/** Address of a CSV file with what is on screen. */
export function exportAddress(fleet, what, asked = {}) {
  const text = query(asked);
  return `${base(fleet)}/export/${what}.csv${text ? `?${text}` : ""}`;
}

function base(fleet) {
  return `/api/fleets/${encodeURIComponent(fleet)}`;
}

function query(asked) {
  const given = Object.entries(asked).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(given).toString();
}

function post(content) {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Fleet-Request": "1" },
    body: JSON.stringify(content),
  };
}

async function ask(address, { signal, ...given } = {}) {
  const signals = [AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])];
  let answer;
  try {
    answer = await fetch(address, { cache: "no-store", ...given, signal: AbortSignal.any(signals) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The server does not answer. Is `fleet dashboard` running?");
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  throw new Refusal(answer.status, content.error ?? `The server answered ${answer.status}.`);
}

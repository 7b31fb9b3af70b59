// Talking to the desk: requests, jobs, and labels that are sent one after the other and kept until they are acknowledged.

export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function answer(response) {
  if (response.status === 204) return null;
  let told = {};
  try { told = await response.json(); } catch { /* not JSON: the status says it */ }
  if (!response.ok) throw new Refused(response.status, told.error || `The desk answered ${response.status}.`);
  return told;
}

export const get = async (path) => answer(await fetch(path, { credentials: "same-origin", cache: "no-store" }));

export const post = async (path, body = {}) => answer(await fetch(path, {
  method: "POST", credentials: "same-origin", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
}));

/** Trade the token behind the # of the address for a cookie; the address then has it no more. */
export async function enter() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!found) return;
  history.replaceState(null, "", location.pathname);
  try { await post("/session", { token: found }); } catch (error) { if (error.status !== 401) throw error; }
}

/** What a job found; `busy` is called while it runs. */
export async function finished(number, busy = () => {}) {
  for (let wait = 100; ; wait = Math.min(wait * 1.3, 700)) {
    const { result } = await get(`/job/${number}`);
    if (result) {
      if (!result.ok) throw new Refused(400, result.error);
      return result;
    }
    busy();
    await new Promise((done) => setTimeout(done, wait));
  }
}

/** Commands in their order; what the desk has not acknowledged stays here and is tried again. `onStale` is given what
 *  waits when another tab was faster, sets the new revision, and returns what is to be sent on it. */
export class Outbox {
  constructor(revision, { onKept, onWaiting, onStale, onRefused }) {
    this.revision = revision;
    this.waiting = [];
    this.on = { onKept, onWaiting, onStale, onRefused };
    this.sending = false;
  }

  push(commands) {
    this.waiting.push(commands);
    return this.send();
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    try {
      while (this.waiting.length) {
        this.on.onWaiting(this.waiting.length, false);
        try {
          const { revision } = await post("/commands", { revision: this.revision, commands: this.waiting[0] });
          this.revision = revision;
          this.waiting.shift();
        } catch (error) {
          if (error instanceof Refused && error.status === 409) {
            this.waiting = await this.on.onStale(this.waiting, error.message);
          } else if (error instanceof Refused && error.status < 500 && error.status !== 401) {
            this.waiting.shift();
            this.on.onRefused(error.message);
          } else {
            this.on.onWaiting(this.waiting.length, true, error instanceof Refused ? error.message : "");
            await new Promise((done) => setTimeout(done, 1500));
          }
        }
      }
      this.on.onKept();
    } finally { this.sending = false; }
  }
}

// The log of what was deployed: each deploy with its change, and a button that goes back to it.

import { get } from "./api.js";
import { makeFolded } from "./diff.js";
import { el, keyed, setSentence, showError } from "./dom.js";
import { goBack } from "./approvals.js";
import { RequestNotice } from "./request_notice.js";
import { putText, putTime } from "./text.js";

const PAGE = 50;

export class DeployList {
  agent = "";
  #deploys = [];
  #limit = PAGE;
  #load = 0; // the number of the current load; the answer to an older one is not used
  #mirror;
  #notice;

  /**
   * @param section has the list, `.older`, `.empty`, `.said` and `.error`
   * @param mirror returns the mirror of the page
   */
  constructor(section, mirror) {
    this.section = section;
    this.#mirror = mirror;
    this.error = section.querySelector(":scope > .error");
    this.#notice = new RequestNotice(section.querySelector(".said"), this.error);
    section.querySelector(".older").addEventListener("click", () => {
      this.#limit += PAGE;
      this.load();
    });
  }

  async load() {
    const load = ++this.#load;
    try {
      const { deploys, more } = await get(`/api/deploys?limit=${this.#limit}${this.agent && `&agent=${this.agent}`}`);
      if (load !== this.#load) return;
      this.#deploys = deploys;
      this.section.querySelector(".older").hidden = !more;
      this.render();
    } catch (failure) {
      if (load === this.#load) showError(this.error, failure.message);
    }
  }

  render() {
    this.#notice.update(this.#mirror());
    this.section.querySelector(".empty").hidden = this.#deploys.length > 0;
    const newest = new Set();
    const agents = this.#mirror().tables.agents ?? {};
    for (const deploy of this.#deploys) {
      const agent = agents[deploy.agent];
      // An agent to which nothing was deployed runs its initial configuration.
      const isSame = agent && deploy.kept && (agent.deployed_commit ? agent.deployed_commit === deploy.commit : deploy.approval === 0);
      deploy.runs = isSame && !newest.has(deploy.agent);
      if (deploy.runs) newest.add(deploy.agent);
      deploy.useless = !agent || !deploy.kept || isSame;
    }
    const key = ({ agent, approval, at }) => `${agent}-${approval}-${at}`;
    const update = (node, one) => {
      node.querySelector(".chip").hidden = !one.runs;
      node.querySelector(".revert").hidden = one.useless;
      const link = node.querySelector(".agent");
      // An agent of the same name that came later is another one.
      if (one.kept && agents[one.agent]) link.href = `/agents/${one.agent}`;
      else link.removeAttribute("href");
    };
    keyed(this.section.querySelector("ol"), this.#deploys, key, (one) => this.#make(one), update, ({ kept }) => kept);
  }

  #make(deploy) {
    const at = el("time");
    putTime(at, deploy.at);
    const what = el("span", { className: "description", dir: "auto" });
    putText(what, deploy.description);
    const tag = `deployed/${deploy.approval}`;
    const revert = el("button", { type: "button", className: "revert", data: { needs: "operator" } }, "Go back to this");
    revert.setAttribute("aria-label", `Go back to ${tag} of ${deploy.agent}`);
    revert.addEventListener("click", () => this.#goBack(deploy, revert));
    const path = `/api/agents/${deploy.agent}/deploys/${deploy.approval}/diff`;
    return el(
      "li",
      {},
      at,
      el("a", { className: "agent" }, el("strong", {}, deploy.agent)),
      what,
      el("span", { className: "by" }, el("code", {}, deploy.commit.slice(0, 12)), ` ${tag} by ${deploy.requested_by}`),
      el("span", { className: "chip" }, "runs now"),
      revert,
      ...(deploy.kept ? [makeFolded("Changes", path, `hivectl deploy-log ${deploy.agent}`)] : this.#makeRest(deploy)),
    );
  }

  /** Make what can be shown of a deploy of an agent that was purged: the request, if there was one. */
  #makeRest({ agent, approval, commit }) {
    const who = this.#mirror().tables.agents?.[agent] ? `an earlier ${agent}` : agent;
    const why = `Its change cannot be shown: the configurations of ${who} were deleted when it was purged.`;
    const line = el("p", { className: "by purged" }, why);
    return approval === 0 ? [line] : [line, makeRequest(approval, commit)];
  }

  async #goBack(deploy, button) {
    const said = this.section.querySelector(".said");
    this.#notice.end();
    const request = await goBack(deploy.agent, deploy.approval, button, this.error);
    if (request === null) return;
    setSentence(said, `A request to take ${deploy.agent} back to deployed/${deploy.approval} waits for your approval. `);
    said.append(el("a", { href: "/approvals" }, "See what it changes"));
    this.#notice.say(null, request, ["pending"]);
    button.disabled = false;
  }
}

/** Make a folded request for an approval, which is fetched when it is unfolded. */
function makeRequest(approval, commit) {
  const body = el("div", { className: "request" });
  const box = el("details", { className: "change" }, el("summary", {}, `Request ${approval}`), body);
  box.addEventListener("toggle", async () => {
    if (!box.open) return;
    try {
      const [found] = (await get(`/api/approvals?before=${approval + 1}`)).approvals;
      if (found?.id !== approval || found.commit !== commit) throw new Error(`Request ${approval} is not kept.`);
      showRequest(body, found);
    } catch (failure) {
      setSentence(body, failure.message);
    }
  });
  return box;
}

function showRequest(node, request) {
  const asked = el("time");
  putTime(asked, request.requested);
  const decided = el("time");
  putTime(decided, request.resolved);
  const said = (className, shown) => {
    const line = el(className === "log" ? "pre" : "p", { className, dir: "auto" });
    putText(line, shown);
    return shown.length ? line : "";
  };
  node.replaceChildren(
    el("p", { className: "by" }, `${request.kind} requested by ${request.requested_by}, `, asked, `; ${request.state}, `, decided),
    said("reason", request.reason),
    said("note", request.note),
    said("log", request.log),
  );
}

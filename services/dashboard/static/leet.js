// The hive's flavour of headings and buttons, such as `◆ APPR0VE`. It is a look only: the words stay in the
// page, so names for screen readers, searches and scripts are the plain ones.

const SIGNS = {
  Approve: "◆",
  "Approve now": "◆",
  Deny: "✗",
  "Deny…": "✗",
  "Always allow": "◆",
  "Allow once": "◇",
  Start: "▶",
  Resume: "▶",
  Stop: "■",
  Pause: "‖",
  Kill: "☠",
  Restart: "↻",
  Rebuild: "↻",
  Update: "↥",
  Refresh: "↻",
  Send: "➤",
  Answer: "➤",
  Write: "✎",
  "Mark as read": "✓",
  "Mark all as read": "✓",
  Requeue: "↺",
  Drop: "✗",
  Dismiss: "✗",
  "Try again": "↻",
  "Log out": "→",
  "Cancel turn": "✗",
  Compact: "◐",
  "New session…": "✦",
};

// Headings and links whose words are the page's own. Texts that others wrote keep their look, and so does
// every choice of a question: what is pressed must read as it was written.
const WORDS = "h2, h3, .sections a";
const OTHERS = ".asked *, [dir=auto], [data-plain], #agent-name, #turn-name, dialog h2";

const observer = new MutationObserver((records) => {
  for (const { target } of records) visit(target.nodeType === Node.TEXT_NODE ? target.parentElement : target);
});

/** Give the page the flavour, and everything that comes to it later. */
export function begin() {
  visit(document.body);
  observer.observe(document.body, { childList: true, characterData: true, subtree: true });
}

/** Give the page its plain look back. */
export function end() {
  observer.disconnect();
  for (const node of document.querySelectorAll("[data-leet-shown]")) delete node.dataset.leetShown;
}

function visit(node) {
  if (!node) return;
  for (const one of [node, ...node.querySelectorAll(`button, ${WORDS}`)]) {
    const wanted = shownFor(one);
    if (one.dataset.leetShown === wanted) continue;
    if (wanted === undefined) delete one.dataset.leetShown;
    else one.dataset.leetShown = wanted;
  }
}

function shownFor(node) {
  if (!node.matches(`button, ${WORDS}`) || node.matches(OTHERS) || node.childElementCount > 0) return undefined;
  const text = node.textContent.trim();
  if (!text) return undefined;
  if (node.matches("button")) return text in SIGNS ? `${SIGNS[text]} ${leet(text)}` : undefined;
  return leet(text);
}

/** Return a text in capitals, with digits for some letters of each word. */
export function leet(text) {
  return text.replace(/\p{L}+/gu, (word) => {
    const big = word.toUpperCase();
    const round = big.replaceAll("O", "0");
    if (round !== big) return round;
    const sharp = big.replaceAll("E", "3").replaceAll("I", "1");
    return sharp === big ? big.replaceAll("A", "4") : sharp;
  });
}

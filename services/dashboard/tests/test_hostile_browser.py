"""Hostile texts in every field that an agent controls, at once, on every page: they stay texts."""

from pathlib import Path
from typing import Any, Final

import pytest
from selenium.common.exceptions import TimeoutException

from services.dashboard.http import pages
from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.hostile import MARK, Hostile

pytestmark = needs_chromium

SHOWN: Final = """
for (const box of document.querySelectorAll("details")) box.open = true;
const labels = [...document.querySelectorAll("[title], [aria-label]")];
return document.documentElement.textContent +
  labels.map(({ title, ariaLabel }) => `${title} ${ariaLabel}`).join(" ");
"""
"""Unfolds all that is folded, which fetches some of it, and returns the texts of the page."""

INSIDE: Final = """
const choice = document.getElementById("whose-log");
choice.value = "inside";
choice.dispatchEvent(new Event("change"));
"""
"""Shows the container's own journal on the page of an agent."""

HARM: Final = r"""
const found = [];
const hidden = new RegExp("[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u200b-\\u200f" +
  "\\u2028-\\u202e\\u2060-\\u206f\\ufeff]|\\u{e0041}", "u");
if (window.harm !== undefined) found.push(`ran: ${window.harm}`);
const isOurs = (address) => new URL(address, location.href).origin === location.origin;
const nodes = document.createTreeWalker(document, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
for (let node = nodes.currentNode; node; node = nodes.nextNode()) {
  if (node instanceof Text) {
    if (hidden.test(node.data))
      found.push(`hidden in <${node.parentElement.tagName} ${node.parentElement.className}>`);
    continue;
  }
  if (!(node instanceof Element)) continue;
  if (node.matches("img, script") && !node.getAttribute("src")?.startsWith("/static/"))
    found.push(`<${node.tagName} src=${node.getAttribute("src")}>`);
  if (/^(iframe|object|embed|base|audio|video|foreignObject)$/i.test(node.tagName))
    found.push(`<${node.tagName}>`);
  for (const { name, value } of node.attributes) {
    const isRaw = name.startsWith("data-") || name === "value";
    if (!isRaw && hidden.test(value)) found.push(`hidden in ${node.tagName} ${name}`);
    if (/^on|^srcdoc$|^style$/.test(name) && /T-|harm/.test(value))
      found.push(`${node.tagName} ${name}=${value}`);
    if (!/^(src|srcset|href|action|formaction|poster|xlink:href|data)$/.test(name)) continue;
    // A link of Markdown leads elsewhere, and says where.
    const leads = node.matches("a[rel~=noopener][rel~=noreferrer][target=_blank]") &&
      /^https?:/.test(value) && node.textContent.includes(new URL(value).host);
    if (!leads && !isOurs(value)) found.push(`${node.tagName} ${name}=${value}`);
  }
}
return found;
"""
"""Returns what on the page is not as it should be."""

WIDE: Final = """
const page = document.documentElement;
if (page.scrollWidth <= page.clientWidth) return [];
const name = ({ tagName, className }) => `${tagName}.${className}`;
const where = (node) => node === page ? "" : `${where(node.parentElement)} > ${name(node)}`;
const isCut = (node) => node !== page &&
  (getComputedStyle(node).overflowX !== "visible" || isCut(node.parentElement));
return [...document.querySelectorAll("body *")]
  .filter((node) => node.getBoundingClientRect().right > page.clientWidth + 1 && !isCut(node))
  .slice(-3)
  .map((node) => `wide: ${where(node)}`);
"""
"""Returns what makes the page wider than the screen."""

PAGES: Final = {
    "": "diff-new",
    "agents/alice": "agent-log day-tool todo turn-reason",
    "agents/bob": "effort",
    "agents/bob/turns/1": "ledger-error",
    "agents/alice/turns/7": "end-error turn-error",
    "agents/alice/configuration": "configuration",
    "logs?agent=alice&unit=inside": "inside-log",
    **dict.fromkeys(pages.SECTIONS, ""),
    "approvals": "diff-new",
    "cost": "request-model",
    "deploys": "diff-new",
    "logs": "log",
    "messages": "reminder",
    "network": "egress-denied",
    "projects": "branch-name change-note",
    "changes/1": "change-new file-comment",
}
"""The pages, each with fields that it shows late."""


async def wrong(browser: Browser) -> list[str]:
    """Return what is wrong with the page that is open."""
    found: list[str] = await browser.do(lambda d: d.execute_script(HARM))
    found += await browser.violations()
    await browser.resize(360, 740)
    found += await browser.do(lambda d: d.execute_script(WIDE))
    await browser.resize(1280, 900)
    return found


async def test_hostile_texts_in_all_fields_stay_texts_on_all_pages(
    page: Page, browser: Browser, log_in: LogIn, tmp_path: Path
) -> None:
    hostile = Hostile()
    hostile.fill(page.hive, page.buses["lifecycle"])
    await log_in()
    hostile.signal(page.hive)
    seen: set[str] = set()
    found: dict[str, list[str]] = {}

    def look(d: Any) -> set[str]:
        marks = set(MARK.findall(d.execute_script(SHOWN)))
        seen.update(marks)
        return marks

    async def until_shown(*fields: str) -> None:
        wanted = {f"T-{field}-T" for field in fields}
        try:
            await browser.until(lambda d: wanted <= look(d))
        except TimeoutException:
            pytest.fail(f"{await browser.value('location.href')} does not show {wanted - seen}")

    async with page.harness("alice") as harness:
        hostile.report(harness)
        for path, late in PAGES.items():
            await browser.open_live(f"{page.url}/{path}")
            await until_shown(*late.split())
            if path == "agents/alice":
                await browser.click("#agent [data-command=compact]")
                await browser.do(lambda d: d.execute_script(INSIDE))
                await until_shown("command-error", "inside-log")
            found[path] = await wrong(browser)
        await page.log_in()
        export = f"{page.url}/api/agents/alice/turns/7/export?form=html"
        async with page.http.get(export) as answer:
            (tmp_path / "turn.html").write_text(await answer.text())
        await browser.open(f"file://{tmp_path}/turn.html")
        await browser.do(look)
        found["export"] = await wrong(browser)
    bad = {path: one for path, one in found.items() if one}
    assert (bad, hostile.marks - seen) == ({}, set())

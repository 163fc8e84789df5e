"""Sentences about budgets, for the operator, the manager and agents."""

from typing import Final

from services.ledger.budgets import periods
from services.ledger.budgets.account import Account, Amount, Key
from wire.records.ledger import BudgetKind, BudgetPeriod

DOLLAR: Final = 1_000_000
LIFT: Final = "let it go on until midnight"
KEEP: Final = "keep it held"
MAX_REASON: Final = 300


def amount(value: Amount) -> str:
    """Return an amount in words: `$5.00`, `1,000 tokens`, or both."""
    parts = []
    if value.dollars:
        dollars = value.dollars / DOLLAR
        parts.append(f"${dollars:,.2f}" if dollars >= 0.1 else f"${dollars:.4f}")
    if value.tokens:
        parts.append(f"{value.tokens:,} tokens")
    return " and ".join(parts) or "nothing"


def used(account: Account, limit: Amount) -> str:
    """Return how much of each limit is used: `$4.10 of $5.00`."""
    spent, parts = account.spent, []
    if limit.dollars:
        shown = amount(Amount(spent.dollars, 0))
        parts.append(f"{shown} of {amount(Amount(limit.dollars, 0))}")
    if limit.tokens:
        parts.append(f"{spent.tokens:,} of {limit.tokens:,} tokens")
    if limit.dollars and account.unknown:
        parts.append("the price of a model is not known")
    return ", ".join(parts)


def exhausted(account: Account, limit: Amount) -> str:
    """Return that a budget is used up, and until when: a clause without a full stop."""
    return f"{_exhausted(account)} ({used(account, limit)})"


def refusal(account: Account, limit: Amount) -> str:
    """Return the sentence for a request that is refused."""
    text = exhausted(account, limit)
    return f"{text[0].upper()}{text[1:]}. The operator can raise it: {command(account, limit)}"


def busy(key: Key) -> str:
    """Return the sentence for a request that must wait for others."""
    return f"Requests under way may use up the rest of {key}. Try again when they have ended."


def warning(account: Account, limit: Amount) -> str:
    """Return the notice for a budget that is used to 80 %."""
    text = f"{account.key} is used to {_percent(account.spent, limit)} %"
    until = f", and ends at {periods.in_words(account.until)}" if account.until else ""
    held = _held(account.key)
    return (
        f"{text[0].upper()}{text[1:]}: {used(account, limit)}{until}. When it is used up, "
        f"{held} held, and no request leaves any more. To raise it: {command(account, limit)}"
    )


def notice(account: Account, limit: Amount) -> str:
    """Return the notice for a budget that is used up."""
    text = exhausted(account, limit)
    return (
        f"{text[0].upper()}{text[1:]}: {_held(account.key)} held, and no request leaves any more. "
        "The operator was asked whether it is raised."
    )


def reason(account: Account, limit: Amount) -> str:
    """Return the reason of the hold."""
    return exhausted(account, limit)[:MAX_REASON]


def is_reason(text: str, account: Account) -> bool:
    """Return whether a hold's reason is that of a budget in its present period."""
    return text.startswith(f"{_exhausted(account)} (")


def question(account: Account, limit: Amount) -> str:
    """Return the question to the operator."""
    text = exhausted(account, limit)
    end = "Until then" if account.until else "Until it is raised"
    return (
        f"{text[0].upper()}{text[1:]}. {end} {_held(account.key)} held: new messages wait in the "
        "inbox, and no request leaves any more. Is more to be spent?"
    )


def choices(account: Account) -> list[str]:
    """Return the choices of the question: the raise that it offers comes first."""
    words = {BudgetPeriod.DAY: " for today", BudgetPeriod.WEEK: " for this week"}
    raised = f"raise it by {amount(account.offer)}{words.get(account.key.period, '')}"
    return [raised, LIFT, KEEP]


def offer(account: Account, limit: Amount) -> Amount:
    """Return by how much the question offers to raise limits that are reached: by half of each, and
    by the excess."""
    return Amount(
        *(
            _rounded(most // 2 + used - most) if most and used >= most else 0
            for used, most in zip(account.spent, limit, strict=True)
        )
    )


def command(account: Account, limit: Amount) -> str:
    """Return the command that raises the limit of which the greatest part is used."""
    owner, period = account.key
    names = {BudgetKind.HIVE: "--hive", BudgetKind.CREDENTIAL: f"--credential {owner.name}"}
    name, spent = names.get(owner.kind, owner.name), account.spent
    tokens_first = spent.tokens * limit.dollars > spent.dollars * limit.tokens
    if limit.tokens and (tokens_first or not limit.dollars):
        return f"hivectl budget {name} --{period}-tokens NUMBER"
    return f"hivectl budget {name} --{period} DOLLARS"


def _exhausted(account: Account) -> str:
    until = f" until {periods.in_words(account.until)}" if account.until else ""
    return f"{account.key} is used up{until}"


def _rounded(value: int) -> int:
    """Return `value` rounded up to two digits."""
    step = int(10 ** max(len(str(value)) - 2, 0))
    return max(-(-value // step) * step, 1)


def _percent(spent: Amount, limit: Amount) -> int:
    return max(used * 100 // most for used, most in zip(spent, limit, strict=True) if most)


def _held(key: Key) -> str:
    match key.owner.kind:
        case BudgetKind.HIVE:
            return "all agents are"
        case BudgetKind.CREDENTIAL:
            return "the agents that use it are"
        case BudgetKind.AGENT:
            return f"{key.owner.name} is"

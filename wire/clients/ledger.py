"""The ledger as its callers see it; docs/dbus.md describes each member."""

from wire import names
from wire.clients.client import Client, remote
from wire.records.ledger import (
    Budget,
    BudgetKind,
    BudgetLimits,
    Cost,
    CostFilter,
    Egress,
    EgressDecision,
    EgressFilter,
    EgressReport,
    ProviderLimit,
    Request,
    ReserveRequest,
    Settlement,
    Turn,
    TurnFilter,
    UsageFilter,
    UsageSum,
    UsageSumFilter,
)
from wire.types import Bool, Int64, Str, UInt16, UInt32, UInt64


class LedgerClient(Client, interface=names.LEDGER, path=names.LEDGER_PATH):
    """org.hyperhive.Ledger1."""

    @remote("RecordTurn")
    async def record_turn(self, turn: Turn) -> None:
        """Record a turn of the caller; a turn that is recorded already stays as it is."""

    @remote("ListTurns")
    async def list_turns(self, filter: TurnFilter, limit: UInt32) -> list[Turn]:
        """Return the turns that match and were recorded last, newest first."""

    @remote("Costs")
    async def costs(self, filter: CostFilter) -> list[Cost]:
        """Return the sums of the turns that match, by day, model or agent."""

    @remote("Reserve")
    async def reserve(self, request: ReserveRequest) -> UInt64:
        """Reserve the most that a request may cost, before a gateway sends it; return its id.

        Raises:
            BudgetExhausted: a budget is used up; the sentence says whose, and until when.
            LimitExceeded: requests under way may use up the rest of a budget, or too many are
                under way: try again when they have ended.
            ProviderLimited: the provider takes no requests of the credential now.
        """

    @remote("Settle")
    async def settle(self, id: UInt64, usage: Settlement) -> None:
        """Replace a reservation of the calling gateway by the use; repeating is harmless."""

    @remote("Release")
    async def release(self, key: Str) -> None:
        """End the reservation of the calling gateway with a key, whose answer was lost; it costs
        nothing. Nothing happens if there is none."""

    @remote("ReportEgress")
    async def report_egress(self, report: EgressReport) -> None:
        """Count connections of the calling gateway's agent."""

    @remote("CheckEgress")
    async def check_egress(self, host: Str, port: UInt16, reason: Str) -> Bool:
        """Return whether the operator allows a connection that no rule allows; else ask the
        operator.

        A gateway, which gives no reason, uses an allowance for once up.

        Raises:
            Conflict: the operator has denied it.
            LimitExceeded: too many requests of the agent wait for the operator, who was not asked.
        """

    @remote("ListUsage")
    async def list_usage(self, filter: UsageFilter, limit: UInt32) -> list[Request]:
        """Return the requests to the model API that match and have ended, newest first."""

    @remote("SumUsage")
    async def sum_usage(self, filter: UsageSumFilter) -> list[UsageSum]:
        """Return the sums of the requests that match, by day, model, agent or credential."""

    @remote("ListBudgets")
    async def list_budgets(self) -> list[Budget]:
        """Return the budgets of the hive, of credentials and of agents; also those without a
        limit."""

    @remote("SetBudget")
    async def set_budget(self, kind: BudgetKind, name: Str, limits: BudgetLimits) -> None:
        """Set limits: an operator's, or, for lifecycle, those of the deployed agent.toml."""

    @remote("ListEgress")
    async def list_egress(self, filter: EgressFilter, limit: UInt32) -> list[Egress]:
        """Return the hosts that match, the ones used last first."""

    @remote("DecideEgress")
    async def decide_egress(
        self, agent: Str, host: Str, port: UInt16, decision: EgressDecision
    ) -> None:
        """Answer a refusal.

        Raises:
            Conflict: a rule of the agent allows what is to be denied.
        """

    @remote("SetEgress")
    async def set_egress(self, agent: Str, rules: list[Str]) -> None:
        """Tell the rules that hold for an agent: what they allow waits for nobody any more."""

    @remote("ForgetAgent")
    async def forget_agent(self, agent: Str) -> None:
        """Forget the budgets of an agent and the decisions about its hosts."""

    @remote("ListLimits")
    async def list_limits(self) -> list[ProviderLimit]:
        """Return the known limits of the provider, by credential."""

    @remote("LimitedUntil")
    async def limited_until(self) -> Int64:
        """Return until when the provider takes no requests of the caller; 0 for no limit."""

    @remote("LiftLimits")
    async def lift_limits(self) -> None:
        """Forget all limits of providers."""

    @remote("Vacuum")
    async def vacuum(self) -> UInt64:
        """Delete old turns, requests and hosts; return how many."""

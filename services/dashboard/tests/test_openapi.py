"""The OpenAPI document has all routes."""

from services.dashboard.http import openapi
from services.dashboard.tests.conftest import Page


async def test_each_route_is_in_the_table_and_has_a_summary(page: Page) -> None:
    await page.log_in()
    document = (await page.get("/api/openapi.json"))[1]
    described = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert described.keys() == openapi.OPERATIONS.keys(), "http/openapi.py has the table"
    assert all(operation["summary"] for operation in described.values())
    # Each parameter of a path is described, and no two paths are the same but for names.
    for path in document["paths"]:
        assert "|" not in path
    assert len({openapi.shape_of(path) for path in document["paths"]}) == len(document["paths"])

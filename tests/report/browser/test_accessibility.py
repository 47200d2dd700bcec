"""axe-core finds no serious violation in both themes and widths, with everything open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core: pip install 'segmi[test]'")


def serious_violations(page: Any) -> list[str]:
    found = axe.Axe().run(page, options={"preload": False}).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['target']} {one['nodes'][0]['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(
    ("width", "theme"),
    [
        (1440, "dark"),
        pytest.param(375, "light", marks=pytest.mark.slow),
        pytest.param(375, "dark", marks=pytest.mark.slow),
        pytest.param(1440, "light", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_no_serious_violation(report: Path, opened: Callable[..., Any], width: int, theme: str) -> None:
    found = opened(report, width, theme=theme)
    found.page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    found.scroll_through()
    assert serious_violations(found.page) == []
    found.row().locator('[data-method="model-1"]').click()
    found.page.locator("#viewer[open]").wait_for()
    assert serious_violations(found.page) == []

"""What the tests share: one authority for all, and a check of the daemons' logs after each test."""

import os
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cluster as c  # noqa: E402


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return c.Pki(tmp_path_factory.mktemp("pki"))


def pytest_report_header():
    return f"raftkvd: {c.DAEMON}, raftkvctl: {c.CTL}, RAFTKV_SLOW={c.SLOW:g}"


def shared(count, **options):
    """A fixture: one cluster for the tests of a module. When a test has left it unwell, the next ones say so."""

    @pytest.fixture(scope="module")
    def cluster(pki, tmp_path_factory):
        with c.running(tmp_path_factory.mktemp("cluster"), count=count, pki=pki, **options) as made:
            yield made

    return cluster


@pytest.fixture(autouse=True)
def logs_are_clean(request):
    """The shared cluster of the module, when there is one, has said nothing bad during the test."""
    yield
    for name in ("one", "three"):
        if name in request.fixturenames:
            request.getfixturevalue(name).check_logs()

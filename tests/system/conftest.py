"""What the tests share: one authority for all, and a check of the daemons' logs after each test."""

import os
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cluster as c  # noqa: E402


def pytest_configure():
    for path in (c.DAEMON, c.CTL):
        if not os.access(path, os.X_OK):
            pytest.exit(f"{path} is not there: build it, and name it by RAFTKVD or RAFTKVCTL", returncode=2)


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return c.Pki(tmp_path_factory.mktemp("pki"))


def pytest_report_header():
    return f"raftkvd: {c.DAEMON}, raftkvctl: {c.CTL}, RAFTKV_SLOW={c.SLOW:g}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):  # pylint: disable=unused-argument
    report = (yield).get_result()
    if report.failed:
        for cluster in list(c.live):
            for node in cluster.nodes:
                if os.path.exists(node.log_path):
                    report.sections.append((f"the end of {node.log_path}", "\n".join(node.log().splitlines()[-40:])))


def shared(count, **options):
    """A fixture: one cluster for the tests of a module. When a test has left it unwell, the next ones say so."""

    @pytest.fixture(scope="module")
    def cluster(pki, tmp_path_factory):
        with c.running(tmp_path_factory.mktemp("cluster"), count=count, pki=pki, **options) as made:
            yield made

    return cluster


@pytest.fixture(autouse=True)
def logs_are_clean(request):
    """The cluster that the tests of a module share, when there is one, has said nothing bad during the test."""
    clusters = [request.getfixturevalue(name) for name in ("one", "three", "patient") if name in request.fixturenames]
    yield
    for cluster in clusters:
        cluster.check_logs()

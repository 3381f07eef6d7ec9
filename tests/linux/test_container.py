import pytest

from utraced.linux.container import container_group, signs

FIRST = {"user_namespace": 0xEFFFFFFD, "pid_namespace": 0xEFFFFFFC}


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("etc/hostname", "x", ()),
        ("run/systemd/container", "systemd-nspawn\n", ("/run/systemd/container says systemd-nspawn",)),
        ("run/systemd/container", "", ()),
        ("run/systemd/container", "x" * 1000, (f"/run/systemd/container says {'x' * 64}",)),
        (".dockerenv", "", ("there is /.dockerenv (docker)",)),
        ("run/.containerenv", 'engine="podman"', ("there is /run/.containerenv (podman)",)),
        ("proc/self/cgroup", "0::/system.slice/docker-0123abc.scope\n", ("its control group is docker's",)),
        ("proc/self/cgroup", "0::/\n", ()),
    ],
)
def test_what_is_left_for_those_inside(tmp_path, path, text, said):
    write(tmp_path, path, text)
    assert signs(str(tmp_path), **FIRST) == said


def test_namespaces_of_its_own(tmp_path):
    assert signs(str(tmp_path), user_namespace=1, pid_namespace=2) == (
        "its user namespace is not the machine's first",
        "its pid namespace is not the machine's first",
    )


@pytest.mark.parametrize(
    ("cgroup", "whose"),
    [
        ("0::/init.scope", None),
        ("0::/system.slice/docker.service", None),
        ("0::/user.slice/user-1000.slice/session-3.scope", None),
        ("0::/docker/8f2a", "docker"),
        ("12:pids:/kubepods/burstable/pod1/2", "kubepods"),
        ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-12.scope", "kubepods"),
        ("0::/machine.slice/libpod-12.scope", "libpod"),
        ("0::/lxc/web", "lxc"),
        ("0::/lxc.payload.web", "lxc"),
        ("", None),
    ],
)
def test_whose_a_control_group_is(cgroup, whose):
    assert container_group(cgroup) == whose


def test_here():
    assert all(isinstance(sign, str) for sign in signs())

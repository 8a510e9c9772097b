# packaging/deps.sh - what raftkv needs, by package name: the one list that quickstart, tests and README share.
#
# Sourced by other scripts. install_deps SET... installs the sets, with sudo when we are not root.
# Sets: build (to compile and install), run (quickstart's own tools), test (make check and tests/run).

APT_build="autoconf automake gcc libc6-dev libconfig-dev libcurl4-openssl-dev libdb5.3-dev libhttp-parser-dev
 libjansson-dev libnghttp2-dev libprotobuf-c-dev libssl-dev libsystemd-dev make pkg-config protobuf-c-compiler"
APT_run="curl"
APT_test="binutils clang libclang-rt-14-dev libcmocka-dev mandoc nghttp2-client openssl python3 python3-pytest systemd util-linux"

DNF_build="autoconf automake gcc http-parser-devel jansson-devel libconfig-devel libcurl-devel libdb-devel
 libnghttp2-devel make openssl-devel pkgconf-pkg-config protobuf-c-compiler protobuf-c-devel systemd-devel"
DNF_run="curl"
DNF_test="binutils clang compiler-rt libasan libubsan libcmocka-devel mandoc nghttp2 openssl python3 python3-pytest systemd util-linux"

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		echo "This needs root, and there is no sudo: run as root: $*" >&2
		return 1
	fi
}

# The packages among the arguments that dpkg does not know as installed.
apt_missing() {
	for package in "$@"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
	done
}

install_deps() {
	list=
	if command -v apt-get >/dev/null 2>&1; then
		for set in "$@"; do eval "list=\"\$list \$APT_$set\""; done
		# shellcheck disable=SC2086
		list=$(apt_missing $list)
		[ -z "$list" ] && return 0
		as_root apt-get update -q
		# shellcheck disable=SC2086
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $list
	elif command -v dnf >/dev/null 2>&1; then
		for set in "$@"; do eval "list=\"\$list \$DNF_$set\""; done
		# shellcheck disable=SC2086
		as_root dnf install -q -y $list
	else
		echo "Neither apt-get nor dnf is here: install what configure asks for by hand." >&2
	fi
}

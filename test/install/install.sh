#!/bin/sh
# install.sh ROOT: installs the library into a prefix of its own and uses it from outside, in each of the ways that the README
# names. Speaks TAP.
# shellcheck disable=SC2317 # the functions are called by try
set -u

root=$1
here=$root/test/install
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
libdir=lib/sub # not the default, and one level more than it
tests=0
failures=0
unset PKG_CONFIG_PATH LD_LIBRARY_PATH CFLAGS LDFLAGS DESTDIR

# try NAME COMMAND...
try() {
    name=$1
    shift
    tests=$((tests + 1))
    if "$@" >"$work/log" 2>&1; then
        echo "ok $tests - $name"
    else
        failures=$((failures + 1))
        echo "not ok $tests - $name"
        tail -n 40 "$work/log" | sed 's/^/# /'
    fi
}

skip() {
    tests=$((tests + 1))
    echo "ok $tests - $1 # SKIP $2"
}

install_it() {
    meson setup "$work/build" "$root" --prefix "$prefix" --libdir "$libdir" -Dtests=disabled &&
        meson install -C "$work/build"
}

only_header() {
    [ "$(cd "$prefix/include" && find . -type f)" = ./bitcask/bitcask.h ]
}

# The shared library needs zlib and friends, its users do not.
lean_flags() {
    flags=$(pkg-config --libs bitcask) && echo "$flags" && [ "${flags% }" = "-L$prefix/$libdir -lbitcask" ]
}

pkg_config_shared() {
    # shellcheck disable=SC2046
    cc -Wall -Wextra -Werror -o "$work/shared" "$here/consumer.c" $(pkg-config --cflags --libs bitcask) &&
        LD_LIBRARY_PATH=$prefix/$libdir "$work/shared" "$work/store-shared"
}

soname() {
    readelf -d "$work/shared" | grep 'NEEDED.*\[libbitcask\.so\.0\]'
}

# The README's example, as it stands there.
example() {
    # shellcheck disable=SC2046
    awk '/^```c$/ { open = 1; next } /^```$/ { if (open) exit } open' "$root/README.md" >"$work/example.c" &&
        cc -std=c11 -Wall -Wextra -Wpedantic -Werror -o "$work/example" "$work/example.c" $(pkg-config --cflags --libs bitcask) &&
        (cd "$work" && LD_LIBRARY_PATH=$prefix/$libdir ./example >example.out) &&
        [ "$(cat "$work/example.out")" = Ada ]
}

pkg_config_static() {
    # shellcheck disable=SC2046
    cc -Wall -Wextra -Werror -static -o "$work/static" "$here/consumer.c" $(pkg-config --static --cflags --libs bitcask) &&
        "$work/static" "$work/store-static"
}

cmake_consumer() {
    cmake -S "$here" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -Dbitcask_DIR="$prefix/$libdir/cmake/bitcask" &&
        cmake --build "$work/cmake" &&
        "$work/cmake/consumer_of_bitcask" "$work/store-cmake" &&
        "$work/cmake/consumer_of_bitcask_static" "$work/store-cmake-static"
}

subproject() {
    mkdir -p "$work/project/subprojects/bitcask" &&
        cp "$here/consumer.c" "$work/project/" &&
        cp "$here/consumer.meson.build" "$work/project/meson.build" &&
        (cd "$root" && cp -R LICENSE meson.build meson_options.txt bitcask tools test docs "$work/project/subprojects/bitcask/") &&
        meson setup "$@" "$work/project/build" "$work/project" &&
        meson compile -C "$work/project/build" &&
        "$work/project/build/consumer" "$work/store-subproject" &&
        rm -rf "$work/project"
}

tool() {
    LD_LIBRARY_PATH=$prefix/$libdir "$prefix/bin/bitcask" get "$work/store-shared" two >"$work/two" && [ "$(cat "$work/two")" = 22 ]
}

try 'meson install' install_it
export PKG_CONFIG_PATH="$prefix/$libdir/pkgconfig"
try 'one header is installed' only_header
try 'pkg-config names the library and nothing else' lean_flags
try 'a program links with pkg-config' pkg_config_shared
try 'and needs libbitcask.so.0' soname
try 'so does the example of the README' example
try 'a static program links with pkg-config --static' pkg_config_static
try 'the installed tool reads what the program wrote' tool
if command -v cmake >/dev/null; then
    try 'a CMake project finds the package' cmake_consumer
else
    skip 'a CMake project finds the package' 'cmake is not installed'
fi
unset PKG_CONFIG_PATH
try 'a Meson project embeds the library' subproject
try 'a Meson project embeds the static library' subproject --default-library=static

echo "1..$tests"
exit "$((failures > 0))"

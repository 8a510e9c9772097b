# m4/rk_checks.m4 - configure checks of raftkv: each failure says what to install.

# RK_MISSING(WHAT, DEBIAN PACKAGE, FEDORA PACKAGE)
AC_DEFUN([RK_MISSING], [AC_MSG_ERROR([$1 is missing.
  Debian, Ubuntu:  apt install $2
  Fedora, RHEL:    dnf install $3])])

# RK_PKG(VARIABLE PREFIX, PKG-CONFIG SPECIFICATION, DEBIAN PACKAGE, FEDORA PACKAGE)
AC_DEFUN([RK_PKG], [PKG_CHECK_MODULES([$1], [$2], [], [RK_MISSING([$2], [$3], [$4])])])

# RK_PROG(VARIABLE, PROGRAM, DEBIAN PACKAGE, FEDORA PACKAGE)
AC_DEFUN([RK_PROG], [
    AC_CHECK_PROG([$1], [$2], [$2])
    AS_IF([test "x$$1" = x], [RK_MISSING([the program $2], [$3], [$4])])
])

# The C dialect of the project.
AC_DEFUN([RK_CC_GNU17], [
    AC_MSG_CHECKING([whether $CC takes -std=gnu17])
    rk_save_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -std=gnu17"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
        [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         AC_MSG_ERROR([the compiler must know -std=gnu17: gcc 8 or clang 6 at least])])
    CFLAGS=$rk_save_CFLAGS
])

# Berkeley DB has no pkg-config file, and Fedora keeps its header in a folder.
AC_DEFUN([RK_BERKELEY_DB], [
    rk_save_LIBS=$LIBS
    rk_save_CPPFLAGS=$CPPFLAGS
    BDB_LIBS=
    BDB_CFLAGS=
    for rk_dir in "" /usr/include/libdb /usr/include/db5.3; do
        AS_IF([test "x$rk_dir" != x], [CPPFLAGS="$rk_save_CPPFLAGS -I$rk_dir"])
        AC_MSG_CHECKING([for Berkeley DB 5.3's db.h${rk_dir:+ in $rk_dir}])
        AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <db.h>
#if DB_VERSION_MAJOR != 5 || DB_VERSION_MINOR != 3
#error wrong version
#endif]], [])], [AC_MSG_RESULT([yes]); BDB_CFLAGS="${rk_dir:+-I$rk_dir}"; rk_bdb=yes], [AC_MSG_RESULT([no]); rk_bdb=no])
        AS_IF([test "$rk_bdb" = yes], [break])
    done
    AS_IF([test "$rk_bdb" = yes], [
        rk_bdb=no
        for rk_lib in db-5.3 db; do
            LIBS="-l$rk_lib $rk_save_LIBS"
            AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <db.h>]], [[DB_ENV *e; return db_env_create(&e, 0);]])],
                [BDB_LIBS="-l$rk_lib"; rk_bdb=yes; break])
        done])
    LIBS=$rk_save_LIBS
    CPPFLAGS=$rk_save_CPPFLAGS
    AS_IF([test "$rk_bdb" = no], [RK_MISSING([Berkeley DB 5.3], [libdb5.3-dev], [libdb-devel])])
    AC_SUBST([BDB_CFLAGS])
    AC_SUBST([BDB_LIBS])
])

AC_DEFUN([RK_HTTP_PARSER], [
    rk_save_LIBS=$LIBS
    AC_MSG_CHECKING([for http_parser 2.9])
    LIBS="-lhttp_parser $LIBS"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <http_parser.h>
#if HTTP_PARSER_VERSION_MAJOR != 2 || HTTP_PARSER_VERSION_MINOR < 9
#error too old
#endif]], [[http_parser p; http_parser_init(&p, HTTP_REQUEST);]])],
        [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         RK_MISSING([http_parser 2.9, the HTTP/1.1 parser], [libhttp-parser-dev], [http-parser-devel])])
    LIBS=$rk_save_LIBS
    AC_SUBST([HTTP_PARSER_LIBS], [-lhttp_parser])
])

AC_DEFUN([RK_DEVELOPER], [
    AC_ARG_ENABLE([developer],
        [AS_HELP_STRING([--enable-developer], [AddressSanitizer, UBSan, debug information, warnings are errors])],
        [rk_developer=$enableval], [rk_developer=no])
    AM_CONDITIONAL([DEVELOPER], [test "x$rk_developer" = xyes])
    AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [warnings are errors])],
        [rk_werror=$enableval], [rk_werror=$rk_developer])
    RK_WARN="-Wall -Wextra -Wshadow -Wconversion"
    AS_IF([test "x$rk_werror" = xyes], [RK_WARN="$RK_WARN -Werror"])
    AC_SUBST([RK_WARN])
    AS_IF([test "x$rk_developer" = xyes],
        [AC_SUBST([RK_SANITIZE], ["-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"])])
])

# See lib/base/rk_plant.h.
AC_DEFUN([RK_PLANTED_BUGS], [
    AC_ARG_ENABLE([planted-bugs],
        [AS_HELP_STRING([--enable-planted-bugs], [for tests/sim/planted.sh alone: bugs that the simulation must catch])],
        [], [enable_planted_bugs=no])
    AS_IF([test "x$enable_planted_bugs" = xyes],
        [AC_SUBST([RK_PLANT_CPPFLAGS], [-DRK_PLANTED])])
])

# Flags of a hardened build, each only where the compiler takes it. Off under the sanitizers, which bring their own.
AC_DEFUN([RK_HARDENING], [
    RK_HARDEN=
    AS_IF([test "x$rk_developer" != xyes], [
        rk_save_CFLAGS=$CFLAGS
        for rk_flag in -fstack-protector-strong -fstack-clash-protection -fPIE; do
            CFLAGS="$rk_save_CFLAGS $rk_flag -Werror"
            AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])], [RK_HARDEN="$RK_HARDEN $rk_flag"])
        done
        CFLAGS=$rk_save_CFLAGS
        RK_HARDEN_LD="-pie -Wl,-z,relro,-z,now,-z,noexecstack"
    ])
    AC_SUBST([RK_HARDEN])
    AC_SUBST([RK_HARDEN_LD])
])

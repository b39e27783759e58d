#!/bin/sh
# man.sh PAGE... - mandoc and groff have nothing to say about the manual pages, whatis finds each under its own name, and
# what they name with a section is a page of ours or of the system's.  `man.sh --self-test` plants violations.  Exits 77,
# which is a skip, where none of the tools is installed.
set -eu
others='qwend-http(8) qwend-http.conf(5) journalctl(1) systemctl(1) systemd-sysusers(8) llm(1)' # of others, and ours that a build may leave out

have() { command -v "$1" >/dev/null; }

check() { # PAGE...
    failed=0
    ours=
    for page in "$@"; do
        name=$(basename "$page")
        ours="$ours ${name%.*}(${name##*.})"
    done
    for page in "$@"; do
        said=$(
            { have mandoc && mandoc -T lint "$page"; } || true
            { have man && LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null; } || true
            name=$(basename "$page")
            ! have lexgrog || lexgrog "$page" | grep -q "\"${name%.*} - ." || echo "whatis does not find it"
            sed 's/\\f.//g; s/\\-/-/g; s/\\&//g' "$page" | grep -oE '[a-z][a-z0-9.-]+\([1-8]\)' | sort -u | while read -r word; do
                case " $ours $others " in
                *" $word "*) ;;
                *) echo "no page is called $word" ;;
                esac
            done
        )
        [ -z "$said" ] || {
            printf '%s: %s\n' "$page" "$said"
            failed=1
        }
    done
    return $failed
}

plant() { # EXPECTED BODY [NAME]
    printf '.TH X 1 2026-01-01\n.SH NAME\n%s \\- a page\n%s\n' "${3-x}" "$2" >"$folder/x.1"
    r=0
    check "$folder/x.1" >"$folder/said" || r=1
    [ $r = "$1" ] || {
        echo "man.sh: gave $r, expected $1, for: $2"
        cat "$folder/said"
        exit 1
    }
}

have mandoc || have man || exit 77
if [ "${1:?usage: man.sh PAGE... | --self-test}" = --self-test ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    plant 0 '.SH SEE ALSO
x(1), \fBjournalctl\fR(1)'
    plant 1 'y\-z(8)'
    ! have mandoc || plant 1 '.SH EMPTY
.P'
    ! have man || plant 1 '\[no-such-character]'
    ! have lexgrog || plant 1 '' y
    echo "man.sh: all planted violations caught"
else
    check "$@"
fi

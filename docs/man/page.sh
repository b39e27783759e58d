#!/bin/sh
# page.sh SCDOC PAGE SOURCE - makes the manual page PAGE of SOURCE, which is in scdoc's language.
#
# scdoc puts paragraphs where there is nothing to part, and lines of any length; mandoc's lint minds both.  The dash of
# an option has to stay one that can be pasted into a shell, which newer versions of groff need to be told.
set -eu

tidy() {
    awk '
    function fold(line,   at) { # text that flows, broken at a blank; no piece may begin like a request
        while (length(line) > 79) {
            for (at = 79; at > 30 && substr(line, at, 2) !~ /^ [^.\047]/; at--)
                ;
            if (at == 30)
                break
            print substr(line, 1, at - 1)
            line = substr(line, at + 1)
        }
        print line
    }
    { sub(/[ \t]+$/, "") }
    /^\.P$/ { gap = 1; next }
    /^\.(nh|ad l)$/ { next } # .TH would forget it
    /^\.TH/ { print; print ".nh"; print ".ad l"; fresh = 1; next }
    /^\.RE/ { print; gap = !fresh; next } # what came before the end of a block comes behind it
    /^\.(SH|SS)/ || fresh { gap = 0 }
    gap { print ".P"; gap = 0 }
    { fresh = /^\.(SH|SS)/ }
    /^\.nf/ { literal = 1 }
    /^\.fi/ { literal = 0 }
    /^\.[^\\]/ || /^.\\"/ { print; next }
    literal { gsub("-", "\\-"); print; next }
    {
        gsub("--", "\\-\\-")
        gsub(/\\fB-/, "\\fB\\-")
        while (match($0, /\\-[a-z0-9]+-[a-z]/)) # inside of an option
            $0 = substr($0, 1, RSTART + RLENGTH - 3) "\\" substr($0, RSTART + RLENGTH - 2)
        fold($0)
    }'
}

"$1" <"$3" >"$2.roff"
tidy <"$2.roff" >"$2"
rm "$2.roff"

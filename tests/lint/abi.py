#!/usr/bin/env python3
"""abi.py LIBRARY HEADER LIST [--update] - what libqwend gives programs is what LIST says: prototypes, values of enumerators, sizes of
structures.  A line that goes or changes breaks programs that exist (a new soname); a new one is for the next release.

`abi.py --self-test` proves that it sees a changed prototype, size and value, and a symbol too many.  Exit 77 (skipped) where there
is no compiler called cc, or the machine has other sizes than the list was made for.  Where abidiff is installed and a library of
the last release is given in QWEND_ABI_BASE, it is asked as well."""

import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile

MACHINE = "x86_64"


def statements(header):
    """The header's declarations, one a line, without comments and preprocessor."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.S)
    text = re.sub(r"^\s*#.*$", " ", text, flags=re.M)
    return text


def prototypes(text):
    flat = re.sub(r"\s+", " ", text)
    found = re.findall(r"(?:^|[;{}] ?)((?:const )?\w[\w ]*?[ *]+(qwend_\w+)\([^;{}]*\))(?=;)", flat)
    return {name: prototype.strip() for prototype, name in found if not prototype.startswith("typedef")}


def measured(header_path, text):
    """Lines of sizes and enumerators, as the compiler has them."""
    types = sorted(set(re.findall(r"\}\s*(qwend_\w+)\s*;", text)) | set(re.findall(r"^struct (qwend_\w+) \{", text, flags=re.M)))
    values = sorted({name for body in re.findall(r"enum\s*\w*\s*\{(.*?)\}", text, flags=re.S)
                     for name in re.findall(r"(QWEND_\w+)", body)})
    structs = {name for name in types if re.search(r"^struct " + name + r" \{", text, flags=re.M)}
    lines = [f'    printf("sizeof {t} %zu\\n", sizeof({"struct " if t in structs else ""}{t}));' for t in types]
    lines += [f'    printf("{v} %d\\n", (int){v});' for v in values]
    with tempfile.TemporaryDirectory(prefix="qwend-abi-") as folder:
        source, program = os.path.join(folder, "abi.c"), os.path.join(folder, "abi")
        with open(source, "w", encoding="utf-8") as f:
            f.write(f'#include "{os.path.abspath(header_path)}"\n#include <stdio.h>\nint main(void)\n{{\n' + "\n".join(lines)
                    + "\n    return 0;\n}\n")
        subprocess.run(["cc", "-o", program, source], check=True)
        return subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()


def exported(library):
    listed = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    return {name for name in (line.split()[2].partition("@")[0] for line in listed.splitlines()) if name != "QWEND_0"}


def current(library, header_path):
    """(lines, faults)"""
    with open(header_path, encoding="utf-8") as f:
        text = statements(f.read())
    declared, symbols = prototypes(text), exported(library)
    faults = [f"{name}: declared, not exported" for name in sorted(declared.keys() - symbols)]
    faults += [f"{name}: exported, not declared" for name in sorted(symbols - declared.keys())]
    return [declared[name] + ";" for name in sorted(declared)] + measured(header_path, text), faults


def check(library, header_path, list_path, update=False):
    lines, faults = current(library, header_path)
    if update:
        with open(list_path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        return faults
    with open(list_path, encoding="utf-8") as f:
        wanted = f.read().splitlines()
    changes = [line for line in difflib.unified_diff(wanted, lines, list_path, header_path, lineterm="", n=0)]
    if changes:
        faults += changes + [f"run {sys.argv[0]} {library} {header_path} {list_path} --update if that is meant"]
    return faults


def abidiff(library):
    base = os.environ.get("QWEND_ABI_BASE")
    if not base or not shutil.which("abidiff"):
        return []
    done = subprocess.run(["abidiff", base, library], capture_output=True, text=True, check=False)
    return [done.stdout] if done.returncode & 8 else []      # 8: changes that break programs


def self_test():
    with tempfile.TemporaryDirectory(prefix="qwend-abi-") as folder:
        def make(header, source):
            with open(os.path.join(folder, "x.h"), "w", encoding="utf-8") as f:
                f.write(header)
            with open(os.path.join(folder, "x.c"), "w", encoding="utf-8") as f:
                f.write('#include "x.h"\n' + source)
            subprocess.run(["cc", "-shared", "-fPIC", "-o", os.path.join(folder, "x.so"), os.path.join(folder, "x.c")], check=True)
            return [os.path.join(folder, name) for name in ("x.so", "x.h", "x.abi")]
        header = "enum { QWEND_A = 1 };\ntypedef struct { int n; } qwend_thing;\nint qwend_run(qwend_thing *thing); /* qwend_no(); */\n"
        source = "int qwend_run(qwend_thing *thing) { return thing->n; }\n"
        assert check(*make(header, source), update=True) == []
        assert check(*make(header, source)) == []
        for wrong, where in (("QWEND_A = 1", "QWEND_A = 2"), ("int n;", "int n; long more;"), ("qwend_thing *thing)", "const qwend_thing *thing)")):
            assert check(*make(header.replace(wrong, where), source.replace(wrong, where))), where
        assert any("exported, not declared" in fault for fault in check(*make(header, source + "int qwend_secret(void) { return 0; }\n")))
        assert any("declared, not exported" in fault for fault in check(*make(header + "int qwend_missing(void);\n", source)))
    print("abi.py: all that changes is seen")


def main(arguments):
    if not shutil.which("cc") or os.uname().machine != MACHINE:
        print(f"no compiler, or not {MACHINE}")
        return 77
    if arguments == ["--self-test"]:
        self_test()
        return 0
    faults = check(*arguments[:3], update=arguments[3:] == ["--update"]) + abidiff(arguments[0])
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

//! Languages and their tools, as the host has them, in the cell.

use std::fs;

use super::{Desk, version};
use crate::harness::{Identity, finish};
use crate::programs::run;

as_root_and_rootless!(
    make_and_gcc_build_what_runs,
    npm_installs_a_package_of_ones_own,
    python_makes_an_environment,
    php_serves_what_is_granted,
    perl_runs,
);

fn make_and_gcc_build_what_runs(identity: Identity) {
    let mut desk = Desk::new(identity, "make and gcc", version("gcc", "-dumpfullversion"));
    let project = desk.at().join("project");
    fs::create_dir(&project).expect("a directory");
    let parts = 0..8;
    for n in parts.clone() {
        fs::write(project.join(format!("part{n}.c")), format!("int part{n}(void) {{ return {n}; }}\n"))
            .expect("a file");
    }
    let declared: String = parts.clone().map(|n| format!("int part{n}(void);\n")).collect();
    let sum = parts.clone().map(|n| format!("part{n}()")).collect::<Vec<_>>().join(" + ");
    let main = format!("#include <stdio.h>\n{declared}int main(void) {{ printf(\"%d\\n\", {sum}); return 0; }}\n");
    fs::write(project.join("main.c"), main).expect("a file");
    let objects = parts.map(|n| format!("part{n}.o")).collect::<Vec<_>>().join(" ");
    let rules = format!("program: main.o libparts.a\n\tcc -o $@ $^\nlibparts.a: {objects}\n\tar rcs $@ $^\n");
    fs::write(project.join("Makefile"), rules).expect("a file");
    desk.site.node.own(&project);
    assert!(desk.told("cd project && make -j4 && ./program").ends_with("\n28\n"));
    assert!(desk.told("make -C project").contains("up to date"));
    desk.saw("make -j4, a library, the program run, nothing built twice");
    assert_eq!(desk.told("cp project/program /tmp && /tmp/program && cp project/program ~ && ~/program"), "28\n28\n");
    desk.saw("what was built runs in /tmp and at home");
}

fn npm_installs_a_package_of_ones_own(identity: Identity) {
    let mut desk =
        Desk::new(identity, "npm", format!("npm {} on node {}", version("npm", "-v"), version("node", "-v")));
    desk.told("mkdir app library && cd library && npm init -y && echo 'module.exports = 42' > index.js");
    desk.told("cd app && npm init -y && npm pkg set scripts.build='node -p \"6 * require(\\\"library\\\")\" > built'");
    desk.saw("init, pkg set");
    desk.told("cd app && npm install --no-audit --no-fund --offline ../library");
    assert_eq!(desk.told("cd app && node -p 'require(\"library\")'"), "42\n");
    desk.told("cd app && npm ls && npm run build");
    assert_eq!(fs::read_to_string(desk.at().join("app/built")).expect("was built"), "252\n");
    assert!(desk.home().join(".npm").is_dir(), "its cache is at home");
    desk.saw("install of a local package, ls, run of a script, the cache at home");
    assert_eq!(desk.told("node -p 'Object.keys(require(\"os\").networkInterfaces()).join()'"), "lo\n");
    desk.saw("node sees the cell's network");
}

/// Makes a package in the form in which packages are installed.
const WHEEL: &str = "
import zipfile
about = 'mine-1.dist-info/'
with zipfile.ZipFile('mine-1-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('mine.py', 'def main(): print(6 * 7)')
    wheel.writestr(about + 'METADATA', 'Metadata-Version: 2.1\\nName: mine\\nVersion: 1\\n')
    wheel.writestr(about + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(about + 'entry_points.txt', '[console_scripts]\\nmine = mine:main\\n')
    wheel.writestr(about + 'RECORD', 'mine.py,,\\n')
";

fn python_makes_an_environment(identity: Identity) {
    let mut desk = Desk::new(identity, "python3 -m venv", version("/usr/bin/python3", "--version"));
    desk.told("/usr/bin/python3 -m venv app/env");
    let prefix = desk.told("app/env/bin/python -c 'import sys; print(sys.prefix)'");
    assert_eq!(prefix.trim_end(), desk.at().join("app/env").to_str().expect("a plain path"));
    desk.saw("an environment, its interpreter run");
    desk.scripted("/usr/bin/python3 -", WHEEL);
    desk.told("app/env/bin/pip install -q --no-index mine-1-py3-none-any.whl");
    assert_eq!(desk.told(". app/env/bin/activate && mine"), "42\n");
    desk.saw("pip install of a local package, its program run");
}

fn php_serves_what_is_granted(identity: Identity) {
    let mut desk = Desk::new(identity, "php", version("php", "--version"));
    fs::write(desk.at().join("index.php"), "<?php echo __DIR__, ' ', file_put_contents('log', 'x');").expect("a file");
    desk.site.node.own(&desk.at());
    let said = desk.told("php index.php");
    assert_eq!(said, format!("{} 1", desk.at().display()));
    desk.saw("a script, with the paths that the site has");
    // Its own server, and a client beside it in the cell's network.
    let serves = "php -S 127.0.0.1:8080 > server.log 2>&1 & for try in $(seq 100); do php -r 'exit(@fsockopen(\"127.0.0.1\", 8080) ? 0 : 1);' && break; sleep 0.1; done; php -r 'echo file_get_contents(\"http://127.0.0.1:8080/\");'; kill $!";
    assert_eq!(desk.told(serves), said);
    desk.saw("php -S, asked on the cell's localhost");
}

fn perl_runs(identity: Identity) {
    let mut desk = Desk::new(identity, "perl", version("perl", "-e print$^V"));
    assert_eq!(
        desk.scripted("perl - one two", "use File::Temp; my $t = File::Temp->new; print \"@ARGV\\n\" x 2;"),
        "one two\none two\n"
    );
    assert_eq!(finish(&mut run(&desk.dev, "perl -e 'exit 9'"), "").status.code(), Some(9));
    desk.saw("a script on standard input, temporary files, exit status");
}

//! The layers of both crates: a module imports only from layers below its own, and files do not import each other in a
//! circle. Reads the paths in the source, except in tests.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `core/src`, from the lowest layer up. Modules of one layer do not import each other.
const CORE: &[&[&str]] = &[
    &["error", "hash", "log", "money", "name", "operation", "order", "tier", "time", "unit", "url"],
    &["framing", "json", "request_id", "routes", "text"],
    &["config", "envelope", "usage"],
    &["conversation", "key"],
    &["catalog"],
    &["format"],
    &["health", "ledger"],
    &["check", "route"],
    &["onboarding", "report", "run_time"],
    &["alerts"],
];

/// The modules of `src`, from the lowest layer up.
const WORKER: &[&[&str]] = &[
    &["platform"],
    &["request_context", "settings"],
    &["store"],
    &["snapshot"],
    &["objects"],
    &["isolate", "notification"],
    &["authentication"],
    &["inference"],
    &["handlers"],
];

struct File {
    /// The path of modules: `format::openai_chat::stream`.
    module: String,
    /// The modules that the file's code names, if they are files.
    imports: BTreeSet<String>,
}

/// The files of a crate, without `lib.rs`, which declares the modules.
fn files(source: &Path) -> Vec<File> {
    let mut paths = Vec::new();
    collect(source, &mut paths);
    let modules: BTreeMap<String, PathBuf> = paths
        .into_iter()
        .map(|path| (module_of(path.strip_prefix(source).unwrap()), path))
        .filter(|(module, _)| module != "lib")
        .collect();
    let texts: BTreeMap<&str, String> = modules
        .iter()
        .map(|(module, path)| (module.as_str(), code(&fs::read_to_string(path).unwrap())))
        .collect();
    // An item that a folder's `mod.rs` re-exports belongs to the file that defines it.
    let mut re_exported = BTreeMap::new();
    for (module, _) in modules.iter().filter(|(_, path)| path.ends_with("mod.rs")) {
        for tree in re_exports(&texts[module.as_str()]) {
            for item in expand(tree) {
                let name = item.rsplit("::").next().unwrap();
                re_exported.insert(format!("{module}::{name}"), format!("{module}::{item}"));
            }
        }
    }
    let file_of = |named: &str| {
        let named = re_exported.get(named).map_or(named, String::as_str);
        // The longest prefix of the path that is a file; the rest is an item in it.
        let mut name = named;
        while !modules.contains_key(name) {
            name = name.rsplit_once("::")?.0;
        }
        Some(name.to_owned())
    };
    modules
        .iter()
        .map(|(module, path)| {
            let mut text = texts[module.as_str()].clone();
            for tree in re_exports(&texts[module.as_str()]) {
                text = text.replace(&format!("pub use {tree};"), "");
            }
            let named = paths_in(&text, module, path.ends_with("mod.rs"));
            let imports =
                named.iter().filter_map(|named| file_of(named)).filter(|name| name != module).collect();
            File { module: module.clone(), imports }
        })
        .collect()
}

/// The trees of `pub use` items.
fn re_exports(code: &str) -> Vec<&str> {
    code.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next()).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn module_of(path: &Path) -> String {
    let path = path.with_extension("");
    let parts: Vec<_> =
        path.iter().map(|part| part.to_str().unwrap()).filter(|part| *part != "mod").collect();
    parts.join("::")
}

/// The text of a file, without tests, comments and line breaks.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join(" ")
}

/// The paths within the crate that a text names, in `use` trees and in expressions, each from the crate's root.
fn paths_in(code: &str, module: &str, is_folder: bool) -> Vec<String> {
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let here = if is_folder { module } else { parent };
    let above = here.rsplit_once("::").map_or("", |(above, _)| above);
    let mut found = Vec::new();
    for (start, root) in [("crate::", ""), ("super::", here), ("super::super::", above), ("self::", module)] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' || before == '$' {
                continue;
            }
            let root = match (start, is_folder) {
                ("super::", true) => parent,
                _ => root,
            };
            let tree = &code[at + start.len()..];
            if tree.starts_with("super::") {
                continue;
            }
            for path in expand(tree) {
                found.push(if root.is_empty() { path } else { format!("{root}::{path}") });
            }
        }
    }
    // Imports of a folder's `mod.rs` from its own files: `use candidates::X` or `mod x; … x::f()`.
    for declared in code.split("mod ").skip(1).filter_map(|rest| rest.split(';').next()) {
        let declared = declared.trim();
        if is_folder
            && code.contains(&format!("{declared}::"))
            && declared.chars().all(|c| c.is_alphanumeric() || c == '_')
        {
            found.push(format!("{module}::{declared}"));
        }
    }
    found
}

/// The paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let end = tree.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(tree.len());
    let (path, rest) = tree.split_at(end);
    if !rest.starts_with('{') {
        return vec![path.trim_end_matches(':').to_owned()];
    }
    let mut depth = 0;
    let mut items = vec![String::new()];
    for symbol in rest.chars() {
        match symbol {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match symbol {
            '}' if depth == 0 => break,
            '{' if depth == 1 => {}
            ',' if depth == 1 => items.push(String::new()),
            symbol => items.last_mut().unwrap().push(symbol),
        }
    }
    let path = path.trim_end_matches(':');
    let inner = items.iter().map(|item| item.trim()).filter(|item| !item.is_empty());
    inner.flat_map(expand).map(|item| format!("{path}::{item}")).collect()
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap()
}

fn upward(files: &[File], layers: &[&[&str]]) -> Vec<String> {
    let layer = |module: &str| layers.iter().position(|layer| layer.contains(&top(module)));
    let mut faults = Vec::new();
    for File { module, imports } in files {
        let Some(own) = layer(module) else {
            faults.push(format!("{module} is in no layer"));
            continue;
        };
        for import in imports.iter().filter(|import| top(import) != top(module)) {
            if layer(import).is_none_or(|layer| layer >= own) {
                faults.push(format!("{module} imports {import}, which is not below it"));
            }
        }
    }
    faults
}

/// The files that import each other in a circle, each with its imports from the others.
fn circles(files: &[File]) -> Vec<String> {
    let mut left: Vec<&File> = files.iter().collect();
    loop {
        let names: BTreeSet<&str> = left.iter().map(|file| file.module.as_str()).collect();
        let is_in_circle = |file: &&File| file.imports.iter().any(|import| names.contains(import.as_str()));
        let kept: Vec<&File> = left.iter().copied().filter(|file| is_in_circle(file)).collect();
        if kept.len() == left.len() {
            return kept
                .iter()
                .map(|file| {
                    let imports = file.imports.iter().filter(|import| names.contains(import.as_str()));
                    format!("{} -> {}", file.module, imports.cloned().collect::<Vec<_>>().join(", "))
                })
                .collect();
        }
        left = kept;
    }
}

fn check(source: &str, layers: &[&[&str]]) {
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source));
    assert!(files.len() > 20, "the files were not found");
    assert!(files.iter().map(|file| file.imports.len()).sum::<usize>() > 40, "no imports were found");
    let faults = upward(&files, layers);
    assert!(faults.is_empty(), "imports that do not run downward:\n{}", faults.join("\n"));
    let circles = circles(&files);
    assert!(
        circles.is_empty(),
        "files that import each other, or import such files:\n{}",
        circles.join("\n")
    );
}

#[test]
fn core_has_no_upward_or_circular_imports() {
    check("src", CORE);
}

#[test]
fn the_worker_has_no_upward_or_circular_imports() {
    check("../src", WORKER);
}

/// Code outside `core/src/format` reads a request as an `Inference` and a stream as a `ResponseStream`.
#[test]
fn only_format_names_the_types_of_a_format_or_matches_on_formats() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in ["src", "../src", "../simulation/src", "../fuzz/fuzz_targets"] {
        collect(&root.join(folder), &mut paths);
    }
    let modules: Vec<String> = fs::read_dir(root.join("src/format"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| is_a_format(path))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(modules.len() > 1, "the formats were not found");
    let mut faults = Vec::new();
    for path in paths.iter().filter(|path| !path.starts_with(root.join("src/format"))) {
        let text = code(&fs::read_to_string(path).unwrap());
        for module in &modules {
            if text.contains(&format!("format::{module}")) {
                faults.push(format!("{} names format::{module}", path.display()));
            }
        }
        let is_catalog = path.starts_with(root.join("src/catalog"));
        let arm = |rest: &str| {
            rest.split_once("=>").is_some_and(|(name, _)| name.trim().chars().all(char::is_alphanumeric))
        };
        if !is_catalog && text.split("Format::").skip(1).any(arm) {
            faults.push(format!("{} matches on a format", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Returns `true` if a file or folder of `format` is a format by itself: it reads requests.
fn is_a_format(path: &Path) -> bool {
    let path = if path.is_dir() { path.join("request.rs") } else { path.to_owned() };
    !path.ends_with("mod.rs")
        && fs::read_to_string(path)
            .is_ok_and(|text| text.contains("pub fn read<'a>(operation: &'static Operation"))
}

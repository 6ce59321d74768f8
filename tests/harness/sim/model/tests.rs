use super::*;

/// A model and the number of the next operation.
struct Shell(Model, u32);

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

impl Shell {
    fn new() -> Self {
        Self(Model::default(), 1)
    }

    fn run(&mut self, operation: &Operation<Sym>) -> Verdict {
        self.1 += 1;
        self.0.apply(operation, Sym(self.1))
    }

    fn make(&mut self, dir: Sym, at: &str, make: Make) -> Sym {
        let create = Operation::Create {
            dir,
            name: name(at),
            make,
            mode: 0o644,
            existing: IfExists::Refuse,
        };
        let Answer::Entry { node, .. } = self.run(&create).unwrap() else {
            panic!("a create is answered with an entry");
        };
        node
    }

    fn rename(&mut self, from: (Sym, &str), to: (Sym, &str), mode: RenameMode) -> Verdict {
        let (from_dir, from) = (from.0, name(from.1));
        let (to_dir, to) = (to.0, name(to.1));
        self.run(&Operation::Rename { from_dir, from, to_dir, to, mode })
    }

    fn nlink(&mut self, node: Sym) -> u32 {
        let Ok(Answer::Attr(seen)) = self.run(&Operation::Getattr { node }) else {
            panic!("{node:?} is there");
        };
        seen.nlink
    }

    fn names(&mut self, dir: Sym) -> String {
        let Ok(Answer::Names(names)) = self.run(&Operation::Readdir { dir }) else {
            panic!("{dir:?} is there");
        };
        names.iter().map(|(name, node, _)| format!("{name}={} ", node.0)).collect()
    }
}

#[test]
fn names_of_one_file_are_counted() {
    let mut shell = Shell::new();
    let file = shell.make(Sym::ROOT, "a", Make::File);
    let link = Operation::Link { node: file, dir: Sym::ROOT, name: name("b") };
    shell.run(&link).unwrap();
    assert_eq!(shell.run(&link), Err(vec![FsError::Exists]));
    assert_eq!(shell.nlink(file), 2);
    for (at, left) in [("a", 1), ("b", 0)] {
        shell.run(&Operation::Unlink { dir: Sym::ROOT, name: name(at) }).unwrap();
        assert_eq!(shell.nlink(file), left);
    }
    assert_eq!(shell.run(&link), Err(vec![FsError::NotFound, FsError::Stale]));
}

#[test]
fn a_directory_counts_its_sub_directories_and_entries() {
    let mut shell = Shell::new();
    let dir = shell.make(Sym::ROOT, "d", Make::Dir);
    shell.make(dir, "e", Make::Dir);
    shell.make(dir, "f", Make::File);
    assert_eq!((shell.nlink(Sym::ROOT), shell.nlink(dir)), (3, 3));
    let rmdir = |at| Operation::Rmdir { dir: Sym::ROOT, name: name(at) };
    assert_eq!(shell.run(&rmdir("d")), Err(vec![FsError::NotEmpty]));
    shell.run(&Operation::Rmdir { dir, name: name("e") }).unwrap();
    shell.run(&Operation::Unlink { dir, name: name("f") }).unwrap();
    shell.run(&rmdir("d")).unwrap();
    assert_eq!(shell.run(&Operation::Getattr { node: dir }), Err(vec![FsError::NotFound]));
    assert_eq!(shell.0.totals(), (0, 0));
}

#[test]
fn rename_replaces_what_is_alike() {
    let mut shell = Shell::new();
    let root = Sym::ROOT;
    let (a, b) = (shell.make(root, "a", Make::File), shell.make(root, "b", Make::File));
    let dir = shell.make(root, "d", Make::Dir);
    let replace = RenameMode::Replace;
    assert_eq!(shell.rename((root, "a"), (root, "d"), replace), Err(vec![FsError::IsDirectory]));
    assert_eq!(shell.rename((root, "d"), (root, "a"), replace), Err(vec![FsError::NotDirectory]));
    assert_eq!(
        shell.rename((root, "a"), (root, "b"), RenameMode::NoReplace),
        Err(vec![FsError::Exists])
    );
    shell.rename((root, "a"), (root, "b"), replace).unwrap();
    assert_eq!((shell.nlink(a), shell.nlink(b)), (1, 0));
    shell.rename((root, "b"), (dir, "x"), replace).unwrap();
    assert_eq!(shell.names(dir), "x=2 ");
    shell.rename((root, "d"), (dir, "x"), RenameMode::Exchange).unwrap_err();
}

#[test]
fn a_directory_does_not_go_below_itself() {
    let mut shell = Shell::new();
    let dir = shell.make(Sym::ROOT, "d", Make::Dir);
    let below = shell.make(dir, "e", Make::Dir);
    let refused = shell.rename((Sym::ROOT, "d"), (below, "x"), RenameMode::Replace);
    assert_eq!(refused, Err(vec![FsError::Invalid]));
    let other = shell.make(Sym::ROOT, "o", Make::Dir);
    shell.rename((dir, "e"), (other, "e"), RenameMode::Replace).unwrap();
    assert_eq!((shell.nlink(dir), shell.nlink(other), shell.nlink(Sym::ROOT)), (2, 3, 4));
    shell.rename((Sym::ROOT, "d"), (other, "e"), RenameMode::Exchange).unwrap();
    assert_eq!(shell.names(Sym::ROOT), "d=3 o=5 ".replace('5', &other.0.to_string()));
}

#[test]
fn names_of_one_file_renamed_onto_each_other_stay() {
    let mut shell = Shell::new();
    let file = shell.make(Sym::ROOT, "a", Make::File);
    shell.run(&Operation::Link { node: file, dir: Sym::ROOT, name: name("b") }).unwrap();
    shell.rename((Sym::ROOT, "a"), (Sym::ROOT, "b"), RenameMode::Replace).unwrap();
    assert_eq!(shell.names(Sym::ROOT), "a=2 b=2 ");
}

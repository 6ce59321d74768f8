//! `Cache`: what one client's kernel answers by itself, as long as it was told that it may.

use std::collections::BTreeMap;

use client_core::Done;
use common::attr::{Attr, FileKind};
use common::error::FsError;
use common::id::Ino;
use common::name::Name;
use common::time::Monotonic;
use common::wire::request::RenameMode;

use super::client::seen;
use super::operation::{Answer, Operation, Outcome, Seen};

const PAST: Monotonic = Monotonic(0);

/// What a name stands for, if anything, and when that ends.
type Entry = (Option<(Ino, FileKind)>, Monotonic);

/// With the moment at which each ends.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    /// Also names that stand for nothing.
    names: BTreeMap<(Ino, Name), Entry>,
    attrs: BTreeMap<Ino, (Seen<Ino>, Monotonic)>,
}

impl Cache {
    /// What a process is told without anybody being asked.
    #[must_use]
    pub fn answer(&self, operation: &Operation<Ino>, now: Monotonic) -> Option<Outcome<Ino>> {
        match operation {
            Operation::Lookup { dir, name } => {
                let (found, until) = self.names.get(&(*dir, name.clone()))?;
                let found = found.map(|(node, kind)| Answer::Entry { node, kind });
                (*until > now).then(|| found.ok_or(FsError::NotFound))
            }
            Operation::Getattr { node } => {
                let (seen, until) = self.attrs.get(node)?;
                (*until > now).then(|| Ok(Answer::Attr(seen.clone())))
            }
            Operation::Readdir { .. }
            | Operation::Readlink { .. }
            | Operation::GetXattr { .. }
            | Operation::ListXattr { .. }
            | Operation::Setattr { .. }
            | Operation::Create { .. }
            | Operation::Unlink { .. }
            | Operation::Rmdir { .. }
            | Operation::Link { .. }
            | Operation::Rename { .. }
            | Operation::SetXattr { .. }
            | Operation::RemoveXattr { .. }
            | Operation::Write { .. } => None,
        }
    }

    /// A call was answered.
    pub fn learn(
        &mut self,
        operation: &Operation<Ino>,
        result: &Result<Done, FsError>,
        until: Monotonic,
    ) {
        if operation.is_change() {
            self.change(operation, result.is_ok());
        }
        match (operation, result) {
            (
                Operation::Lookup { dir, name }
                | Operation::Create { dir, name, .. }
                | Operation::Link { dir, name, .. },
                Ok(Done::Entry(attr)),
            ) => self.entry(*dir, name, attr, until),
            (Operation::Lookup { dir, name }, Err(FsError::NotFound)) => {
                self.names.insert((*dir, name.clone()), (None, until));
            }
            (Operation::Getattr { .. } | Operation::Setattr { .. }, Ok(Done::Attr(attr))) => {
                self.attr(attr, until);
            }
            _ => (),
        }
    }

    pub fn entry(&mut self, dir: Ino, name: &Name, attr: &Attr, until: Monotonic) {
        self.names.insert((dir, name.clone()), (Some((attr.ino, attr.kind)), until));
        self.attr(attr, until);
    }

    fn attr(&mut self, attr: &Attr, until: Monotonic) {
        self.attrs.insert(attr.ino, (seen(attr), until));
    }

    /// What Linux does by itself after a change of its own.
    fn change(&mut self, operation: &Operation<Ino>, done: bool) {
        match operation {
            Operation::Unlink { dir, name } | Operation::Rmdir { dir, name } => {
                self.take(*dir, name);
                self.attrs.remove(dir);
            }
            Operation::Create { dir, .. } => {
                self.attrs.remove(dir);
            }
            Operation::Link { node, dir, .. } => self.drop_attributes(&[*node, *dir]),
            Operation::Rename { from_dir, from, to_dir, to, mode } => {
                let moved = self.take(*from_dir, from);
                let replaced = self.take(*to_dir, to);
                self.drop_attributes(&[*from_dir, *to_dir]);
                if done {
                    // The entry is moved with the time that it was given under its other name.
                    self.names.extend(moved.map(|entry| ((*to_dir, to.clone()), entry)));
                    let exchanged = replaced.filter(|_| *mode == RenameMode::Exchange);
                    self.names.extend(exchanged.map(|entry| ((*from_dir, from.clone()), entry)));
                }
            }
            Operation::Setattr { node, .. }
            | Operation::SetXattr { node, .. }
            | Operation::RemoveXattr { node, .. }
            | Operation::Write { node, .. } => {
                self.attrs.remove(node);
            }
            Operation::Lookup { .. }
            | Operation::Getattr { .. }
            | Operation::Readdir { .. }
            | Operation::Readlink { .. }
            | Operation::GetXattr { .. }
            | Operation::ListXattr { .. } => (),
        }
    }

    /// Takes a name out, and the attributes of what it stands for. Linux has always looked it up; here
    /// that may be left out, and then it may be anything.
    fn take(&mut self, dir: Ino, name: &Name) -> Option<Entry> {
        let Some(entry) = self.names.remove(&(dir, name.clone())) else {
            self.attrs.clear();
            return None;
        };
        if let (Some((ino, _)), _) = &entry {
            self.attrs.remove(ino);
        }
        Some(entry)
    }

    /// What a name stood for is still known to who removes it.
    pub fn drop_names(&mut self, dir: Ino, names: &[Name]) {
        for name in names {
            if let Some((_, until)) = self.names.get_mut(&(dir, name.clone())) {
                *until = PAST;
            }
        }
    }

    pub fn drop_all_names(&mut self) {
        self.names.values_mut().for_each(|(_, until)| *until = PAST);
    }

    pub fn drop_attributes(&mut self, inodes: &[Ino]) {
        for ino in inodes {
            self.attrs.remove(ino);
        }
    }

    /// The kernel forgets an inode.
    pub fn forget(&mut self, ino: Ino) {
        self.attrs.remove(&ino);
        self.names.retain(|(dir, _), (found, _)| {
            *dir != ino && found.is_none_or(|(found, _)| found != ino)
        });
    }
}

#[cfg(test)]
mod tests {
    use common::attr::Times;
    use common::time::Timestamp;

    use super::*;

    const DIR: Ino = Ino::ROOT;
    const FILE: Ino = Ino(301);

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    fn look_up(text: &str) -> Operation<Ino> {
        Operation::Lookup { dir: DIR, name: name(text) }
    }

    fn file() -> Result<Done, FsError> {
        let times = Times::all(Timestamp::from_secs(0));
        let (ino, kind) = (FILE, FileKind::File);
        let attr = Attr { ino, kind, mode: 0, nlink: 1, uid: 0, gid: 0, rdev: 0, size: 0, times };
        Ok(Done::Entry(attr))
    }

    #[test]
    fn it_answers_until_then() {
        let (mut cache, until) = (Cache::default(), Monotonic(10));
        cache.learn(&look_up("f"), &file(), until);
        cache.learn(&look_up("g"), &Err(FsError::NotFound), until);
        let found = Ok(Answer::Entry { node: FILE, kind: FileKind::File });
        assert_eq!(cache.answer(&look_up("f"), Monotonic(9)), Some(found));
        assert_eq!(cache.answer(&look_up("g"), Monotonic(9)), Some(Err(FsError::NotFound)));
        assert_eq!(cache.answer(&look_up("f"), until), None);
        assert!(cache.answer(&Operation::Getattr { node: FILE }, Monotonic(9)).is_some());
        cache.drop_names(DIR, &[name("f")]);
        cache.drop_attributes(&[FILE]);
        assert_eq!(cache.answer(&look_up("f"), Monotonic(9)), None);
        assert!(cache.answer(&Operation::Getattr { node: FILE }, Monotonic(9)).is_none());
    }

    #[test]
    fn an_entry_moves_with_its_time() {
        let mut cache = Cache::default();
        cache.learn(&look_up("f"), &file(), Monotonic(10));
        let rename = Operation::Rename {
            from_dir: DIR,
            from: name("f"),
            to_dir: DIR,
            to: name("g"),
            mode: RenameMode::Replace,
        };
        cache.learn(&rename, &Ok(Done::Nothing), Monotonic(0));
        assert_eq!(cache.answer(&look_up("f"), Monotonic(9)), None);
        assert!(cache.answer(&look_up("g"), Monotonic(9)).is_some());
        assert!(cache.answer(&Operation::Getattr { node: FILE }, Monotonic(9)).is_none());
    }
}

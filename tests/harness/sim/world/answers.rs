//! What a client's kernel makes of an answer: what it refers to from then on, what it locks, and whether the
//! process goes on.

use common::attr::FileKind;
use common::error::FsError;
use common::id::Ino;

use crate::sim::client::ClientHost;
use crate::sim::kernel::{How, Lock};
use crate::sim::operation::{Answer, Make, Operation, Outcome};

impl ClientHost {
    /// Whether a process does what it had in mind next, after this.
    pub(super) fn goes_on(
        &mut self,
        process: usize,
        operation: &Operation<Ino>,
        outcome: &Outcome<Ino>,
    ) -> bool {
        let next = self.processes[process].plan.front();
        let replaced = match (operation, next) {
            (Operation::Lookup { dir, name }, Some(Operation::Rename { to_dir, to, .. })) => {
                (dir, name) == (to_dir, to)
            }
            _ => false,
        };
        match outcome {
            Ok(Answer::Entry { node, kind }) => {
                let locks = match next {
                    Some(Operation::Rmdir { .. }) => true,
                    Some(_) => replaced || *kind != FileKind::Dir,
                    None => false,
                };
                !locks || self.lock_found(process, *node)
            }
            Ok(_) => true,
            Err(error) => replaced && *error == FsError::NotFound,
        }
    }

    /// A name was looked up in order to remove, move or replace what it names, which is locked for that.
    fn lock_found(&mut self, process: usize, node: Ino) -> bool {
        let process = &mut self.processes[process];
        let lock = Lock { ino: node, how: How::Exclusive };
        let locked = process.locks.contains(&lock) || self.kernel.lock(&[lock]);
        if locked && !process.locks.contains(&lock) {
            process.locks.push(lock);
        }
        locked
    }

    pub(super) fn kernel_learns(
        &mut self,
        operation: &Operation<Ino>,
        answer: Option<&Answer<Ino>>,
    ) {
        let (node, kind) = match answer {
            Some(Answer::Entry { node, kind }) => (node, kind),
            Some(Answer::Attr(seen)) => return self.kernel.pin(seen.node),
            Some(
                Answer::Done
                | Answer::Names(_)
                | Answer::Target(_)
                | Answer::Xattr(_)
                | Answer::XattrNames(_),
            )
            | None => return,
        };
        let parent = match operation {
            Operation::Lookup { dir, .. }
            | Operation::Create { dir, .. }
            | Operation::Link { dir, .. } => *dir,
            Operation::Getattr { .. }
            | Operation::Readdir { .. }
            | Operation::Readlink { .. }
            | Operation::GetXattr { .. }
            | Operation::ListXattr { .. }
            | Operation::Setattr { .. }
            | Operation::Unlink { .. }
            | Operation::Rmdir { .. }
            | Operation::Rename { .. }
            | Operation::SetXattr { .. }
            | Operation::RemoveXattr { .. }
            | Operation::Write { .. } => return,
        };
        let kind: FileKind = *kind;
        if let Operation::Create { make: Make::Dir, .. } = operation {
            self.kernel.has_made(*node);
        }
        self.kernel.meet(*node, kind, parent);
        self.kernel.pin(*node);
    }
}

//! `NameDropper`: asks the kernel to let go of names that stand for something else now.
//!
//! The kernel looks every name up again in any case; but what it has cached it refers to, and what
//! it refers to is kept by a rank. The order blocks while any request on the directory is
//! unanswered, so it has a thread of its own, and nothing ever waits for that.

use std::io;
use std::thread;

use common::id::Ino;
use common::name::Name;
use crossbeam_channel::{Sender, bounded};

use crate::fuse::rooted::Kernel;

/// Names waiting. More are left to the kernel's own judgement.
const QUEUE_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub struct NameDropper {
    names: Sender<(Ino, Name)>,
}

impl NameDropper {
    /// # Errors
    /// The thread cannot be made.
    pub fn start(kernel: Kernel) -> io::Result<Self> {
        let (names, queue) = bounded::<(Ino, Name)>(QUEUE_MAX);
        thread::Builder::new().name("grove-names".to_owned()).spawn(move || {
            for (dir, name) in queue {
                if let Err(error) = kernel.drop_name(dir, &name) {
                    tracing::debug!(%error, "the kernel does not let go of a name");
                }
            }
        })?;
        Ok(Self { names })
    }

    pub(crate) fn drop_name(&self, dir: Ino, name: Name) {
        // Full: the kernel lets go of it when it needs the memory.
        let _ = self.names.try_send((dir, name));
    }
}

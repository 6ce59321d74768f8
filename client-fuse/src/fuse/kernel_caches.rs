//! `KernelCaches`: has the kernel drop what it has cached of names and attributes.
//!
//! To drop a name takes a lock that is held while any request on its directory is unanswered, and such a
//! request may be waiting for another mount to drop something: so it is done by threads of their own, and if one
//! has to wait, the kernel is told to look up every name once more instead, which takes no lock
//! (`FUSE_NOTIFY_INC_EPOCH`, Linux 6.16). A kernel that cannot do that caches nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use client_core::{Input, InvalidationId};
use common::id::Ino;
use common::name::Name;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::client::Client;
use crate::fuse::rooted::Kernel;

/// Directories are shared out among so many threads.
const THREADS: u64 = 4;
/// A thread that waits for longer than this waits for a lock.
const LOCKED: Duration = Duration::from_millis(1);

/// A directory, and names in it.
pub(crate) type Names = (Ino, Vec<Name>);

#[derive(Debug)]
pub struct KernelCaches {
    cache: Arc<Cache>,
    threads: Vec<Sender<Order>>,
}

#[derive(Debug)]
struct Order {
    id: InvalidationId,
    names: Option<Names>,
    inodes: Vec<Ino>,
}

/// The kernel's, as far as it takes orders.
#[derive(Debug)]
struct Cache {
    kernel: Kernel,
    /// Where it is told what fuser cannot say.
    device: File,
}

impl KernelCaches {
    /// `None`: this kernel cannot be told without waiting for it.
    ///
    /// # Errors
    /// Threads cannot be made.
    pub fn start(kernel: Kernel, client: &Weak<Client>) -> io::Result<Option<Self>> {
        let device = match device_of_session() {
            Ok(device) => device,
            Err(error) => {
                tracing::info!(%error, "the kernel keeps no names or attributes");
                return Ok(None);
            }
        };
        let cache = Arc::new(Cache { kernel, device });
        if let Err(error) = cache.look_up_all_again() {
            tracing::info!(%error, "this kernel is older than 6.16: it keeps no names or attributes");
            return Ok(None);
        }
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let (sender, orders) = unbounded();
            let dropper = LockWaiter::start(&cache, number)?;
            let client = Weak::clone(client);
            let name = format!("grove-caches-{number}");
            thread::Builder::new().name(name).spawn(move || dropper.serve(&orders, &client))?;
            threads.push(sender);
        }
        Ok(Some(Self { cache, threads }))
    }

    /// Reports to the client when it is done. As many are under way as ranks wait for, and no more.
    pub(crate) fn invalidate(&self, id: InvalidationId, names: Option<Names>, inodes: Vec<Ino>) {
        let key = names.as_ref().map(|(dir, _)| *dir).or_else(|| inodes.first().copied());
        let number = key.map_or(0, |ino| ino.0 % THREADS);
        let thread = usize::try_from(number).expect("there are few");
        // The thread ends with the mount.
        let _ = self.threads[thread].send(Order { id, names, inodes });
    }

    /// Every name, and the attributes of these.
    pub(crate) fn drop_all(&self, inodes: &[Ino]) {
        if let Err(error) = self.cache.look_up_all_again() {
            tracing::debug!(%error, "the kernel does not drop names");
        }
        inodes.iter().for_each(|ino| self.cache.drop_attributes(*ino));
    }
}

impl Cache {
    fn look_up_all_again(&self) -> io::Result<()> {
        const INC_EPOCH: i32 = 8;
        const HEADER_BYTES: u32 = 16;
        let mut header = Vec::new();
        header.extend(HEADER_BYTES.to_ne_bytes());
        header.extend(INC_EPOCH.to_ne_bytes());
        header.extend(0_u64.to_ne_bytes());
        (&self.device).write_all(&header)
    }

    /// What it does not know it has not cached: errors say no more than that.
    fn drop_name(&self, dir: Ino, name: &Name) {
        if let Err(error) = self.kernel.drop_name(dir, name) {
            tracing::trace!(%error, "not cached");
        }
    }

    fn drop_attributes(&self, ino: Ino) {
        if let Err(error) = self.kernel.drop_attributes(ino) {
            tracing::trace!(%error, "not cached");
        }
    }

    /// Of a directory the listing as well.
    fn drop_directory(&self, dir: Ino) {
        if let Err(error) = self.kernel.drop_directory(dir) {
            tracing::trace!(%error, "not cached");
        }
    }
}

/// Drops names in a thread that may have to wait for locks, which is not waited for.
struct LockWaiter {
    cache: Arc<Cache>,
    orders: Sender<(Names, Vec<Ino>)>,
    done: Receiver<()>,
    waits: bool,
}

impl LockWaiter {
    fn start(cache: &Arc<Cache>, number: u64) -> io::Result<Self> {
        let (orders, queue) = bounded::<(Names, Vec<Ino>)>(1);
        let (reports, done) = bounded(1);
        let at_work = Arc::clone(cache);
        let name = format!("grove-names-{number}");
        thread::Builder::new().name(name).spawn(move || {
            for ((dir, names), inodes) in queue {
                names.iter().for_each(|name| at_work.drop_name(dir, name));
                // After that: what was being looked up is there now.
                inodes.iter().for_each(|ino| at_work.drop_attributes(*ino));
                if reports.send(()).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { cache: Arc::clone(cache), orders, done, waits: false })
    }

    fn serve(mut self, orders: &Receiver<Order>, client: &Weak<Client>) {
        for Order { id, names, inodes } in orders {
            let dropped = match names {
                Some(names) => {
                    self.cache.drop_directory(names.0);
                    self.drop_names(names, &inodes)
                }
                None => false,
            };
            if !dropped {
                inodes.iter().for_each(|ino| self.cache.drop_attributes(*ino));
            }
            let Some(client) = client.upgrade() else { break };
            client.handle(Input::Invalidated { id });
        }
    }

    /// Tells whether the attributes are dropped as well.
    fn drop_names(&mut self, names: Names, inodes: &[Ino]) -> bool {
        if self.waits {
            self.waits = self.done.try_recv().is_err();
        }
        if !self.waits && self.orders.send((names, inodes.to_vec())).is_ok() {
            self.waits = self.done.recv_timeout(LOCKED).is_err();
        }
        if self.waits
            && let Err(error) = self.cache.look_up_all_again()
        {
            tracing::debug!(%error, "the kernel does not drop names");
        }
        !self.waits
    }
}

/// One of the descriptors by which this process serves its mount.
fn device_of_session() -> io::Result<File> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let path = entry?.path();
        if fs::read_link(&path).is_ok_and(|target| target == Path::new("/dev/fuse")) {
            let number =
                path.file_name().and_then(OsStr::to_str).and_then(|text| text.parse().ok());
            if let Some(number) = number {
                let process = pidfd_open(getpid(), PidfdFlags::empty())?;
                let device = pidfd_getfd(process, number, PidfdGetfdFlags::empty())?;
                return Ok(File::from(device));
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "no descriptor of /dev/fuse"))
}

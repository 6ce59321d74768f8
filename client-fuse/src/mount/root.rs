//! Which directory a mount shows: its path is followed once, when it is mounted.
//!
//! The mount then refers to each directory on the way as the kernel refers to those above a working
//! directory, for as long as it lasts: whatever becomes of their names, it shows the same one.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use client_core::{Call, Done};
use common::attr::FileKind;
use common::error::FsError;
use common::id::{Ino, Rank};
use common::name::Name;
use common::wire::request::Caller;

use crate::client::Client;
use crate::fuse::Root;
use crate::mount::MountError;

/// How long a mount waits for the authority of each directory on the way to answer.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// A mount that cannot show its root is no mount.
pub(super) fn find(client: &Arc<Client>, path: &[Name]) -> Result<Root, MountError> {
    ask(client, Call::Getattr { ino: Ino::ROOT }, "/")?;
    let (mut dir, mut shown) = (Ino::ROOT, String::new());
    for name in path {
        shown = format!("{shown}/{name}");
        dir = enter(ask(client, Call::Lookup { dir, name: name.clone() }, &shown)?, &shown)?;
    }
    Ok(Root(dir))
}

fn ask(client: &Arc<Client>, call: Call, path: &str) -> Result<Done, MountError> {
    let (sender, answer) = mpsc::channel();
    client.call((Caller::default(), 0), call, move |result, _| {
        let _ = sender.send(result);
    });
    match answer.recv_timeout(FIRST_ANSWER) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(FsError::NotFound)) => Err(MountError::NoSource(path.to_owned())),
        Ok(Err(reason)) => Err(MountError::Root { path: path.to_owned(), reason }),
        Err(_) if path == "/" => {
            let state = client.map().map_or("unknown", |map| map.state(Rank::ROOT).name());
            Err(MountError::NoAnswer { state })
        }
        Err(_) => Err(MountError::NoAnswerFor(path.to_owned())),
    }
}

fn enter(done: Done, path: &str) -> Result<Ino, MountError> {
    let Done::Entry(attr) = done else {
        return Err(MountError::Root { path: path.to_owned(), reason: FsError::Io });
    };
    match attr.kind {
        FileKind::Dir => Ok(attr.ino),
        FileKind::Symlink => Err(MountError::SourceIsLink(path.to_owned())),
        FileKind::File
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => Err(MountError::SourceNotDirectory(path.to_owned())),
    }
}

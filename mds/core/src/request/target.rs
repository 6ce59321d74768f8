//! Where the inode is that a request names: in an entry, at its home, among the orphans, or a
//! directory of its own. Reads and changes it wherever that is.

use common::attr::{Attr, FileKind};
use common::error::FsError;
use common::id::{ClientId, Ino};
use common::name::Name;
use common::wire::request::{Place, Target, Xattrs};

use crate::cx::{Cx, Step, Stop, Wait};
use crate::lock::Lock;
use crate::row::{Dir, Inode, Linkage, Orphan};
use crate::subtree::Intent;

/// A target that was found here, with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Dir { ino: Ino, dir: Dir },
    Entry { dir: Ino, name: &'a Name, inode: Inode },
    Home { inode: Inode },
    Orphan { orphan: Orphan },
}

impl Found<'_> {
    #[must_use]
    pub fn attr(&self) -> Attr {
        match self {
            Self::Dir { ino, dir } => dir.attr(*ino),
            Self::Entry { inode, .. } | Self::Home { inode } => inode.attr.clone(),
            Self::Orphan { orphan } => orphan.inode.attr.clone(),
        }
    }

    #[must_use]
    pub fn xattrs(&self) -> &Xattrs {
        match self {
            Self::Dir { dir, .. } => &dir.xattrs,
            Self::Entry { inode, .. } | Self::Home { inode } => &inode.xattrs,
            Self::Orphan { orphan } => &orphan.inode.xattrs,
        }
    }

    pub fn xattrs_mut(&mut self) -> &mut Xattrs {
        match self {
            Self::Dir { dir, .. } => &mut dir.xattrs,
            Self::Entry { inode, .. } | Self::Home { inode } => &mut inode.xattrs,
            Self::Orphan { orphan } => &mut orphan.inode.xattrs,
        }
    }

    /// The directory in whose entry the inode is embedded.
    #[must_use]
    pub fn embedded_in(&self) -> Option<Ino> {
        match self {
            Self::Entry { dir, .. } => Some(*dir),
            Self::Dir { .. } | Self::Home { .. } | Self::Orphan { .. } => None,
        }
    }

    /// The inode, if it is no directory.
    #[must_use]
    pub fn inode(&self) -> Option<&Inode> {
        match self {
            Self::Dir { .. } => None,
            Self::Entry { inode, .. } | Self::Home { inode } => Some(inode),
            Self::Orphan { orphan } => Some(&orphan.inode),
        }
    }

    /// Changes the attributes that a directory and an inode have in common.
    pub fn change_attr(&mut self, change: impl FnOnce(&mut Attr)) {
        match self {
            Self::Dir { ino, dir } => {
                let mut attr = dir.attr(*ino);
                change(&mut attr);
                dir.mode = attr.mode;
                dir.uid = attr.uid;
                dir.gid = attr.gid;
                dir.times = attr.times;
            }
            Self::Entry { inode, .. } | Self::Home { inode } => change(&mut inode.attr),
            Self::Orphan { orphan } => change(&mut orphan.inode.attr),
        }
    }

    /// Stores it where it was found.
    pub fn store(self, cx: &mut Cx<'_>) {
        match self {
            Self::Dir { ino, dir } => cx.own.namespace.put_dir(ino, dir, cx.out),
            Self::Entry { dir, name, inode } => {
                cx.own.namespace.put_entry(dir, name, Linkage::Primary(Box::new(inode)), cx.out);
            }
            Self::Home { inode } => cx.own.namespace.put_inode(inode.attr.ino, inode, cx.out),
            Self::Orphan { orphan } => {
                cx.own.namespace.put_orphan(orphan.inode.attr.ino, orphan, cx.out);
            }
        }
    }
}

/// Finds a target at this rank.
///
/// # Errors
/// Where else it may be, or what to wait for.
pub fn find<'a>(cx: &mut Cx<'_>, target: &'a Target, intent: Intent) -> Step<Found<'a>> {
    let ino = target.ino;
    match &target.place {
        Place::Dir => {
            cx.admit(ino, intent)?;
            cx.unlocked(&Lock::Contents(ino))?;
            if let Some((lock, _)) = cx.own.locks.in_dir(ino) {
                // How many entries it has, and since when, may be seen at another rank already.
                return Err(Stop::Wait(Wait::Unlock(lock)));
            }
            Ok(Found::Dir { ino, dir: cx.dir(ino)?.clone() })
        }
        Place::Entry { dir, name } => {
            if let Err(stop) = cx.admit(*dir, intent) {
                // Its last name may have gone, and then the directory, before its holder could hear of it.
                return match stop {
                    Stop::Gone(_) => orphan(cx, ino).map_err(|_| stop),
                    Stop::Refuse(_) | Stop::Redirect(_) | Stop::Wait(_) | Stop::TwoPhase => {
                        Err(stop)
                    }
                };
            }
            match cx.entry(*dir, name)? {
                Some(Linkage::Primary(inode)) if inode.attr.ino == ino => {
                    Ok(Found::Entry { dir: *dir, name, inode: *inode })
                }
                // Renamed, unlinked or linked by somebody else, of which its holders were told; or
                // the name now stands for another inode.
                Some(Linkage::Primary(_) | Linkage::Dir { .. } | Linkage::Remote { .. }) | None => {
                    orphan(cx, ino)
                }
            }
        }
        Place::Home => {
            if cx.home_rank(ino)? != cx.me() {
                return Err(Stop::Gone(ino));
            }
            match cx.home_inode(ino)?.cloned() {
                Some(inode) => Ok(Found::Home { inode }),
                None if cx.is_lost(ino) && cx.own.namespace.orphan(ino).is_none() => {
                    tracing::warn!(%ino, "asked for a file that was lost with its rank");
                    Err(FsError::Io.into())
                }
                None => orphan(cx, ino),
            }
        }
        Place::Orphan { .. } => orphan(cx, ino),
    }
}

/// Its last name went while the request was on its way, or with one whose place was elsewhere.
fn orphan<'a>(cx: &Cx<'_>, ino: Ino) -> Step<Found<'a>> {
    let orphan = cx.own.namespace.orphan(ino).cloned().ok_or(Stop::Gone(ino))?;
    Ok(Found::Orphan { orphan })
}

/// A reply names this inode: the client's kernel will refer to it.
/// `dir` is where it is embedded, if it is.
///
/// # Errors
/// What to wait for while its region is about to leave.
pub fn pin(cx: &mut Cx<'_>, client: ClientId, attr: &Attr, dir: Option<Ino>) -> Step<()> {
    if attr.kind != FileKind::Dir
        && let Some(dir) = dir
    {
        cx.admit(dir, Intent::Pin)?;
    }
    pin_admitted(cx, client, attr, dir);
    Ok(())
}

/// The same where a change was admitted, which may pin as well, or outside of all regions.
pub fn pin_admitted(cx: &mut Cx<'_>, client: ClientId, attr: &Attr, dir: Option<Ino>) {
    if attr.kind != FileKind::Dir
        && let Some(session) = cx.own.sessions.get(client)
    {
        cx.own.pins.pin(attr.ino, dir, client, session.latest());
    }
}

//! A living subtree whose name was a lost rank's gets one in the root directory.

use common::id::{DirFragId, Ino, Rank, Seq};
use common::limit::NAME_BYTES_MAX;
use common::name::Name;

use super::claim::name_in;
use super::search::standing;
use super::{Attaching, Lost};
use crate::cx::{Cx, Step, Stop, Wait};
use crate::effect::Effect;
use crate::lock::Lock;
use crate::message::lost::{LostMsg, Standing};
use crate::message::replica::ReplicaMsg;
use crate::request::rename::reparent;
use crate::row::{Linkage, Parent};
use crate::subtree::{DirAuth, Freeze, Intent, Subtree};

impl Lost {
    /// The name of a subtree of ours, if it is not known that the directory above still has it.
    ///
    /// # Errors
    /// What to wait for.
    pub(super) fn may_be_stray(
        &self,
        base: DirFragId,
        parent: Ino,
        cx: &mut Cx<'_>,
    ) -> Step<Option<Name>> {
        let root = cx.map.incarnation(Rank::ROOT);
        let asked = self.asked.get(&base.ino);
        let is_asked = asked.is_some_and(|(life, above)| Some(*life) == root && *above == parent);
        if is_asked || self.named.contains(&(base.ino, parent)) {
            return Ok(None);
        }
        let Some(above) = cx.own.namespace.parent(base.ino)?.cloned() else { return Ok(None) };
        // An operation of several ranks may be about to give it another name.
        cx.unlocked(&Lock::Parent(base.ino))?;
        let names = Some((above.name.clone(), base.ino));
        match standing(parent, names.as_ref(), cx)? {
            Standing::Here { .. } | Standing::Undecided => Ok(None),
            Standing::No => Ok((above.dir == parent).then_some(above.name)),
        }
    }

    /// Asks rank 0 for a name, once for each of its lives: a second time the directory may have been
    /// renamed since.
    pub(super) fn attach(&mut self, base: DirFragId, above: Parent, cx: &mut Cx<'_>) {
        let Some(root) = cx.map.incarnation(Rank::ROOT) else { return };
        let Some(subtree) = cx.own.subtrees.get(base) else { return };
        let epoch = subtree.epoch;
        let is_live = subtree.auth == DirAuth::Sole(cx.me()) && subtree.freeze == Freeze::Live;
        // It may have got another name since the others were asked, or be about to.
        let is_there = matches!(cx.own.namespace.parent(base.ino), Ok(Some(it)) if *it == above);
        if !is_live || !is_there || cx.unlocked(&Lock::Parent(base.ino)).is_err() {
            return;
        }
        let name = above.name;
        tracing::warn!(
            dir = %base.ino, %name,
            "the directory above was a lost rank's: it gets a name in the root directory"
        );
        self.asked.insert(base.ino, (root, above.dir));
        if cx.me() == Rank::ROOT {
            let attaching = Attaching { name, epoch, named: None };
            self.attaching.insert((Rank::ROOT, base.ino), attaching);
            self.name_strays(cx);
        } else {
            cx.out.send(Rank::ROOT, LostMsg::Attach { dir: base.ino, name, epoch });
        }
    }

    /// At rank 0: gives names, and tells of those that cannot be lost any more.
    pub(super) fn name_strays(&mut self, cx: &mut Cx<'_>) {
        let mut told = Vec::new();
        for ((owner, dir), attaching) in &mut self.attaching {
            if attaching.named.is_none() {
                match name_stray((*owner, *dir), attaching, cx) {
                    Ok(named) => attaching.named = Some(named),
                    Err(Stop::Wait(Wait::Fetch(fetch))) => {
                        cx.own.namespace.fetch(fetch, cx.out);
                    }
                    // Tried again when it may be.
                    Err(_) => {}
                }
            }
            if let Some((parent, seq)) = &attaching.named
                && *seq <= cx.own.durable
            {
                told.push((*owner, *dir, parent.clone()));
            }
        }
        for (owner, dir, parent) in told {
            self.attaching.remove(&(owner, dir));
            if owner == cx.me() {
                self.attached.insert(dir, parent);
            } else {
                cx.out.send(owner, LostMsg::Attached { dir, parent });
            }
        }
    }

    /// The names that rank 0 gave become what our directories know of themselves.
    pub(super) fn take_names(&mut self, cx: &mut Cx<'_>) {
        for (dir, parent) in std::mem::take(&mut self.attached) {
            let Some((_, above)) = self.asked.get(&dir).copied() else { continue };
            match take_name(dir, above, &parent, cx) {
                Ok(()) => {
                    self.asked.remove(&dir);
                    self.named.insert((dir, parent.dir));
                }
                Err(stop) => {
                    self.wait_for(&stop, cx);
                    self.attached.insert(dir, parent);
                }
            }
        }
    }
}

/// At rank 0: a name in the root directory for a subtree of that rank. Returns it, and from when on
/// it cannot be lost.
///
/// # Errors
/// What to wait for.
pub(super) fn name_stray(
    (owner, dir): (Rank, Ino),
    attaching: &Attaching,
    cx: &mut Cx<'_>,
) -> Step<(Parent, Seq)> {
    cx.admit(Ino::ROOT, Intent::Change)?;
    let mut root = cx.dir(Ino::ROOT)?.clone();
    let name = name_in_root(dir, &attaching.name);
    let parent = Parent { dir: Ino::ROOT, name: name.clone() };
    let base = DirFragId::whole(dir);
    let named = name_in(dir, Ino::ROOT, cx)?;
    let claim_is_new =
        cx.own.subtrees.get(base).is_none_or(|known| {
            known.epoch <= attaching.epoch && known.auth != DirAuth::Sole(cx.me())
        });
    if named.is_none() {
        if cx.entry(Ino::ROOT, &name)?.is_some() {
            return Err(Stop::Gone(dir));
        }
        root.entries += 1;
        root.subdirs += 1;
        root.times.mtime = root.times.mtime.max(cx.now.wall);
        root.times.ctime = root.times.ctime.max(cx.now.wall);
        cx.own.namespace.put_dir(Ino::ROOT, root, cx.out);
        cx.own.namespace.put_entry(Ino::ROOT, &name, Linkage::Dir { ino: dir }, cx.out);
    }
    if claim_is_new {
        let subtree = Subtree {
            auth: DirAuth::Sole(owner),
            epoch: attaching.epoch,
            parent: Some(Ino::ROOT),
            freeze: Freeze::Live,
            apart: false,
        };
        cx.own.subtrees.insert(base, subtree);
    }
    cx.own.journal_subtrees(cx.out);
    cx.out.push(Effect::SyncSoon);
    let parent = named.map_or(parent, |name| Parent { dir: Ino::ROOT, name });
    Ok((parent, cx.own.seq))
}

/// The number tells apart those that had the same name.
pub(super) fn name_in_root(dir: Ino, old: &Name) -> Name {
    let mut bytes = format!("lost+found.{dir}.").into_bytes();
    bytes.extend_from_slice(old.as_bytes());
    bytes.truncate(NAME_BYTES_MAX);
    Name::new(&bytes).expect("a name with something before it is one")
}

/// # Errors
/// What to wait for.
pub(super) fn take_name(dir: Ino, before: Ino, parent: &Parent, cx: &mut Cx<'_>) -> Step<()> {
    let base = DirFragId::whole(dir);
    let Some(subtree) = cx.own.subtrees.get(base).filter(|_| cx.own.subtrees.is_mine(base)) else {
        // Whoever has it by now asks for itself.
        return Ok(());
    };
    if subtree.parent != Some(before) {
        // It was given another name meanwhile.
        return Ok(());
    }
    if subtree.freeze != Freeze::Live {
        return Err(Stop::Wait(Wait::Thaw(base)));
    }
    cx.unlocked(&Lock::Parent(dir))?;
    cx.dir(dir)?;
    for (holder, nonce) in cx.own.spine.holders(dir).collect::<Vec<_>>() {
        cx.out.send(holder, ReplicaMsg::Moved { dir, parent: parent.clone(), nonce });
    }
    reparent(cx, dir, parent.clone(), cx.now.wall);
    Ok(())
}

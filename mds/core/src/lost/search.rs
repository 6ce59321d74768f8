//! Asking every other rank whether it has a directory, and answering that.

use common::id::{Epoch, Ino, Rank};
use common::name::Name;

use super::{Lost, Purpose, Question};
use crate::cx::{Cx, Wait};
use crate::input::Fetch;
use crate::lock::Lock;
use crate::message::lost::{LostMsg, Standing};
use crate::row::Linkage;
use crate::subtree::{DirAuth, Freeze};

impl Lost {
    pub(super) fn ask(&mut self, dir: Ino, cx: &mut Cx<'_>) {
        let Some(search) = self.searches.get_mut(&dir) else { return };
        self.rounds += 1;
        search.round = self.rounds;
        search.told.clear();
        for rank in others(cx) {
            let (names, round) = (search.purpose.names(), search.round);
            cx.out.send(rank, LostMsg::Whose { dir, names, round });
        }
    }

    pub(super) fn answer_parked(&mut self, cx: &mut Cx<'_>) {
        for question in std::mem::take(&mut self.parked) {
            match standing(question.dir, question.names.as_ref(), cx) {
                Ok(standing) => {
                    let Question { asker, dir, round, .. } = question;
                    let imports = cx.own.imports;
                    cx.out.send(asker, LostMsg::Standing { dir, round, standing, imports });
                }
                Err(fetch) => {
                    cx.own.namespace.fetch(fetch, cx.out);
                    self.parked.push(question);
                }
            }
        }
    }

    pub(super) fn on_standing(
        &mut self,
        (from, dir, round): (Rank, Ino, u64),
        standing: Standing,
        imports: u64,
        cx: &mut Cx<'_>,
    ) -> Vec<Wait> {
        let Some(search) = self.searches.get_mut(&dir).filter(|search| search.round == round)
        else {
            return Vec::new();
        };
        match standing {
            Standing::No => {
                search.told.insert(from, imports);
            }
            Standing::Here { epoch } => {
                let purpose = search.purpose.clone();
                self.searches.remove(&dir);
                return self.found(dir, &purpose, (from, epoch), cx);
            }
            Standing::Undecided => {
                // Asked again every now and then: somebody settles it.
                tracing::debug!(%dir, at = from.0, "undecided");
                self.searches.remove(&dir);
            }
        }
        Vec::new()
    }

    /// A living rank has it: what was believed here is old.
    pub(super) fn found(
        &mut self,
        dir: Ino,
        purpose: &Purpose,
        (owner, epoch): (Rank, Epoch),
        cx: &mut Cx<'_>,
    ) -> Vec<Wait> {
        match purpose {
            Purpose::Claim { base, .. } => {
                cx.own.subtrees.see_epoch(epoch);
                if let Some(subtree) = cx.own.subtrees.get_mut(*base) {
                    subtree.auth = DirAuth::Sole(owner);
                    subtree.epoch = epoch;
                    subtree.freeze = Freeze::Live;
                    cx.own.journal_subtrees(cx.out);
                }
                vec![Wait::Thaw(*base)]
            }
            Purpose::Attach { base, .. } => {
                self.named.insert((base.ino, dir));
                Vec::new()
            }
        }
    }
}

pub(super) fn others(cx: &Cx<'_>) -> Vec<Rank> {
    cx.map.ranks.keys().copied().filter(|rank| *rank != cx.me()).collect()
}

/// # Errors
/// What must be fetched first.
pub(super) fn standing(
    dir: Ino,
    names: Option<&(Name, Ino)>,
    cx: &mut Cx<'_>,
) -> Result<Standing, Fetch> {
    let Some(base) = cx.own.subtrees.base_of(dir, &cx.own.namespace)? else {
        return Ok(Standing::No);
    };
    let Some(subtree) = cx.own.subtrees.get(base) else { return Ok(Standing::No) };
    let (me, auth, epoch) = (cx.me(), subtree.auth, subtree.epoch);
    match auth {
        DirAuth::Sole(rank) if rank == me => {}
        DirAuth::Ambiguous { first, second } if first == me || second == me => {
            return Ok(Standing::Undecided);
        }
        DirAuth::Sole(_) | DirAuth::Ambiguous { .. } => return Ok(Standing::No),
    }
    if cx.own.namespace.dir(dir)?.is_none() {
        return Ok(Standing::No);
    }
    let Some((name, ino)) = names else { return Ok(Standing::Here { epoch }) };
    if cx.own.locks.holder(&Lock::Entry(cx.own.namespace.key(dir, name))).is_some() {
        return Ok(Standing::Undecided);
    }
    let named = cx.own.namespace.entry(dir, name)?;
    let is_named = matches!(named, Some(Linkage::Dir { ino: named }) if named == ino);
    Ok(if is_named { Standing::Here { epoch } } else { Standing::No })
}

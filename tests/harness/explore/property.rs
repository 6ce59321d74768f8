//! What must be true: of each rank alone, of all together in every state, and of a world at rest.
//!
//! What a single rank contributes is its [`View`], worked out once for each state of it.

use std::any::Any;
use std::collections::BTreeMap;

use common::id::{DirFragId, Incarnation, Ino, Nonce, Rank};
use common::mds_map::RankState;
use common::wire::admin::{AdminReply, AdminRequest};
use mds_core::holdings::Holdings;
use mds_core::journal::entry::Entry;
use mds_core::message::PeerMsg;
use mds_core::row::{Linkage, Row};
use mds_core::subtree::{DirAuth, Freeze, Subtree};

use super::model::Model;
use super::rank::{Letter, RankNode};
use super::state::State;
use super::world::World;

/// What must not be, and is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("the core panicked: {0}")]
    Panicked(String),
    /// Of one rank alone.
    #[error("rank {rank}: {broken}")]
    Local { rank: Rank, broken: String },
    /// **E1**, **I1**, **S1**: it serves what it is not the authority for.
    #[error("rank {rank} serves {dir}, whose authority is rank {owner}")]
    Usurped { rank: Rank, dir: Ino, owner: Rank },
    #[error("ranks {0} and {1} both list themselves alone for {2}")]
    Both(Rank, Rank, DirFragId),
    /// Nothing happens any more, and this is left.
    #[error("at rest, rank {rank}: {left}")]
    LeftOver { rank: Rank, left: String },
    #[error("at rest, {0}")]
    Stored(String),
    /// With every message delivered, every deadline passed and nobody dying, it never comes to rest.
    #[error("it never comes to rest")]
    Stuck,
}

impl Violation {
    #[must_use]
    pub fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Self::Panicked(text.unwrap_or_default())
    }
}

/// Whether a rank works in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    Yes,
    /// Frozen or in doubt.
    NotNow,
    Elsewhere(Rank),
    Unknown,
}

/// What there is to know of one rank.
#[derive(Clone, Debug)]
pub struct View {
    /// For each directory of the world, in order.
    serves: Vec<Serves>,
    /// Bases it lists itself alone for.
    sole: Vec<DirFragId>,
    broken: Option<String>,
    /// Why it is not at rest.
    restless: Option<String>,
    /// Replicas: of what, granted by whom, under which number.
    replicas: Vec<(Ino, Rank, Nonce)>,
    /// Replicas of its own directories: of what, held by whom.
    registered: Vec<(Ino, Rank, Nonce)>,
    /// Names and directories that are stored.
    names: Vec<(Ino, String, Ino)>,
    dirs: Vec<Ino>,
    /// Files that are stored here whole, with how many names they say they have.
    files: Vec<(Ino, u32)>,
    /// Directories, with how many names they say are in them.
    counts: Vec<(Ino, u64)>,
}

impl View {
    /// Whether a rank in this state serves, and lists itself alone for, all that it does in another.
    #[must_use]
    pub fn claims_all_of(&self, other: &Self) -> bool {
        let serves = |view: &Self, number: usize| view.serves.get(number) == Some(&Serves::Yes);
        (0..other.serves.len()).all(|number| serves(self, number) || !serves(other, number))
            && other.sole.iter().all(|base| self.sole.contains(base))
    }
}

/// Works out what checkers ask of a rank.
#[must_use]
pub fn view(node: &RankNode, world: &World) -> View {
    let mut view = View {
        serves: Vec::new(),
        sole: Vec::new(),
        broken: None,
        restless: Some("is not there".to_owned()),
        replicas: Vec::new(),
        registered: Vec::new(),
        names: Vec::new(),
        dirs: Vec::new(),
        files: Vec::new(),
        counts: Vec::new(),
    };
    for row in node.disk.rows() {
        match row {
            Row::Entry(key, linkage) => {
                view.names.push((key.dir, key.name.to_string(), linkage.ino()));
                if let Linkage::Primary(inode) = linkage {
                    view.files.push((inode.attr.ino, inode.attr.nlink));
                }
            }
            Row::Inode(ino, inode) => view.files.push((*ino, inode.attr.nlink)),
            Row::Dir(frag, dir) => {
                view.dirs.push(frag.ino);
                view.counts.push((frag.ino, dir.entries));
            }
            _ => {}
        }
    }
    let Some(process) = &node.process else { return view };
    let own = process.mds.holdings();
    view.serves = world.dirs.iter().map(|dir| serves(node.rank, own, dir.ino, world)).collect();
    let sole = |(base, subtree): (DirFragId, &Subtree)| {
        (subtree.auth == DirAuth::Sole(node.rank)).then_some(base)
    };
    view.sole = own.subtrees.iter().filter_map(sole).collect();
    let replicas = own.spine.replicas();
    view.replicas = replicas.map(|(dir, it)| (dir, it.authority, it.nonce)).collect();
    let registered = own.spine.registered().flat_map(|(dir, holders)| {
        holders.iter().map(move |(holder, known)| (dir, *holder, known.nonce))
    });
    view.registered = registered.collect();
    view.broken = broken(node, own, world);
    view.restless = restless(node, own);
    view
}

/// As `SubtreeMap::access` decides it, but for directories that are not cached as well.
fn serves(me: Rank, own: &Holdings, dir: Ino, world: &World) -> Serves {
    let mut here = Some(dir);
    while let Some(ino) = here {
        if let Some(subtree) = own.subtrees.get(DirFragId::whole(ino)) {
            return match (subtree.auth, subtree.freeze) {
                (DirAuth::Sole(rank), _) if rank != me => Serves::Elsewhere(rank),
                (_, Freeze::Live | Freeze::Freezing | Freeze::ReadOnly | Freeze::Sealed) => {
                    Serves::Yes
                }
                (_, Freeze::Frozen) => Serves::NotNow,
            };
        }
        here = world.parent(ino);
    }
    Serves::Unknown
}

/// Invariants of one rank.
fn broken(node: &RankNode, own: &Holdings, world: &World) -> Option<String> {
    if let Some(damage) = own.damage.first() {
        return Some(format!("read-only: {damage}"));
    }
    for (base, subtree) in own.subtrees.iter() {
        let doubt = match subtree.auth {
            DirAuth::Sole(_) => false,
            DirAuth::Ambiguous { first, second } => first == node.rank || second == node.rank,
        };
        if doubt && matches!(subtree.freeze, Freeze::Live | Freeze::Freezing) {
            return Some(format!("S3: {base} is in doubt and not frozen: {subtree:?}"));
        }
        let frozen = matches!(subtree.freeze, Freeze::ReadOnly | Freeze::Sealed | Freeze::Frozen);
        if frozen && own.subtrees.has_auth_pins(base, &own.namespace) == Ok(true) {
            return Some(format!("S21: {base} is frozen, with operations under way in it"));
        }
    }
    let region = DirFragId::whole(world.region);
    let bounds = node.disk.journal().find_map(|entry| match entry {
        Entry::ImportStart(start) if start.base == region => Some(&start.bounds),
        _ => None,
    });
    let bounds = bounds.map(|bounds| bounds.keys().map(|bound| bound.ino).collect::<Vec<_>>());
    if bounds.as_ref().is_some_and(|bounds| *bounds != world.bounds()) {
        return Some(format!("S11: imported with the bounds {bounds:?}"));
    }
    None
}

/// What a rank that has nothing to do must not have.
fn restless(node: &RankNode, own: &Holdings) -> Option<String> {
    let process = node.process.as_ref()?;
    if process.mds.state() != RankState::Active {
        return Some(format!("is only in {}", process.mds.state().name()));
    }
    for (base, subtree) in own.subtrees.iter() {
        if subtree.freeze != Freeze::Live || matches!(subtree.auth, DirAuth::Ambiguous { .. }) {
            return Some(format!("{base} is {:?} and {:?}", subtree.auth, subtree.freeze));
        }
    }
    if let Some((dir, replica)) = own.spine.replicas().find(|(_, it)| it.doubt.is_some()) {
        return Some(format!("does not know whose {dir} is: {replica:?}"));
    }
    if !own.locks.is_empty() {
        return Some(format!("has locks: {:?}", own.locks));
    }
    if !process.mds.two_phase().is_idle() {
        return Some(format!("has operations of two ranks: {:?}", process.mds.two_phase()));
    }
    match node.question(AdminRequest::Leftovers) {
        Some(AdminReply::Leftovers(left))
            if left.frozen + left.auth_pins + left.waiting + left.sweeping == 0 => {}
        left => return Some(format!("{left:?}")),
    }
    match node.question(AdminRequest::Status) {
        Some(AdminReply::Status(status)) if status.migrations_running == 0 => {}
        status => return Some(format!("{status:?}")),
    }
    let marks = node.disk.rows().find(|row| matches!(row, Row::Copied(..) | Row::Drop(..)));
    if let Some(row) = marks {
        return Some(format!("a mark of a migration is stored: {row:?}"));
    }
    None
}

/// What must hold in every state.
///
/// # Errors
/// What does not.
pub fn check(state: &State, model: &Model) -> Result<(), Violation> {
    let mut sole: Vec<(DirFragId, Rank)> = Vec::new();
    for rank in model.ranks() {
        let view = model.view(state, rank);
        if let Some(broken) = &view.broken {
            return Err(Violation::Local { rank, broken: broken.clone() });
        }
        for base in &view.sole {
            if let Some((_, other)) = sole.iter().find(|(of, _)| of == base) {
                return Err(Violation::Both(*other, rank, *base));
            }
            sole.push((*base, rank));
        }
        for (dir, serves) in model.world.dirs.iter().zip(&view.serves) {
            let owner = model.world.owner(dir, state.owner);
            if *serves == Serves::Yes && rank != owner && !model.world.is_unsettled(dir.ino) {
                return Err(Violation::Usurped { rank, dir: dir.ino, owner });
            }
        }
    }
    Ok(())
}

/// What must hold when nothing goes on.
///
/// # Errors
/// What does not.
pub fn check_rest(state: &State, model: &Model) -> Result<(), Violation> {
    let (mut names, mut dirs) = (Vec::new(), Vec::new());
    let (mut files, mut counts) = (Vec::new(), Vec::new());
    for rank in model.ranks() {
        let view = model.view(state, rank);
        let buried = model.world.buried.contains(&rank) && !is_alive(state, model, rank);
        if let Some(left) = view.restless.as_ref().filter(|_| !buried) {
            return Err(Violation::LeftOver { rank, left: left.clone() });
        }
        names.extend(view.names.iter().cloned());
        dirs.extend(view.dirs.iter().copied());
        files.extend(view.files.iter().copied());
        counts.extend(view.counts.iter().copied());
        if !buried {
            check_routes(state, model, rank)?;
            check_replicas(state, model, rank)?;
        }
    }
    names.sort();
    dirs.sort_unstable();
    let calls = model.client(state).map_or(0, |client| client.calls);
    let (all_names, all_dirs) = model.world.content(calls);
    if names != all_names {
        return Err(Violation::Stored(format!("names {names:?}, not {all_names:?}")));
    }
    if dirs != all_dirs {
        return Err(Violation::Stored(format!("directories {dirs:?}, not {all_dirs:?}")));
    }
    check_counts(&names, &dirs, files, &counts)?;
    check_answers(state, model)
}

/// Both sides agree: each file is somewhere, once, and counts what names it has; and each directory.
fn check_counts(
    names: &[(Ino, String, Ino)],
    dirs: &[Ino],
    mut files: Vec<(Ino, u32)>,
    counts: &[(Ino, u64)],
) -> Result<(), Violation> {
    let mut named: BTreeMap<Ino, u32> = BTreeMap::new();
    for (_, _, ino) in names.iter().filter(|(_, _, ino)| !dirs.contains(ino)) {
        *named.entry(*ino).or_default() += 1;
    }
    files.sort_unstable();
    let named: Vec<(Ino, u32)> = named.into_iter().collect();
    if files != named {
        return Err(Violation::Stored(format!("files and their links {files:?}, not {named:?}")));
    }
    for (dir, count) in counts {
        let inside = names.iter().filter(|(at, _, _)| at == dir).count() as u64;
        if inside != *count {
            return Err(Violation::Stored(format!("{dir} counts {count} names, and has {inside}")));
        }
    }
    Ok(())
}

/// Every call was answered, and that it is done: nothing in these worlds makes one impossible.
fn check_answers(state: &State, model: &Model) -> Result<(), Violation> {
    let Some(client) = model.client(state) else { return Ok(()) };
    let done = client.answers.values().filter(|answer| answer.is_ok()).count() as u64;
    if done == client.calls {
        return Ok(());
    }
    Err(Violation::Stored(format!("of {} calls: {:?}", client.calls, client.answers)))
}

fn is_alive(state: &State, model: &Model, rank: Rank) -> bool {
    model.node(state, rank).process.is_some()
}

/// **S15**: every replica is registered with the authority, and no other is. (When an authority has
/// begun anew, what a holder says to the life it knows may not get there, while its registration does, by
/// way of a migration. The holder then answers for what it does not hold, which costs a message.)
fn check_replicas(state: &State, model: &Model, rank: Rank) -> Result<(), Violation> {
    let view = model.view(state, rank);
    for (dir, authority, nonce) in &view.replicas {
        let place = model.world.dirs.iter().find(|place| place.ino == *dir);
        let owner = place.map(|place| model.world.owner(place, state.owner));
        if owner != Some(*authority) {
            let left = format!("takes {authority} for the authority for {dir}, not {owner:?}");
            return Err(Violation::LeftOver { rank, left });
        }
        let authority_has = model.view(state, *authority);
        if !authority_has.dirs.contains(dir) {
            // Removed, with all registrations: nobody has to say anything about it any more.
            continue;
        }
        let known = &authority_has.registered;
        if !known.contains(&(*dir, rank, *nonce)) {
            let left = format!("S15: its replica of {dir} is not registered with {authority}");
            return Err(Violation::LeftOver { rank, left });
        }
    }
    let began_anew = |rank: &Rank| model.node(state, *rank).incarnation > Incarnation(1);
    for (dir, holder, nonce) in &view.registered {
        if model.ranks().filter(|rank| rank != holder).any(|rank| began_anew(&rank)) {
            continue;
        }
        let held = &model.view(state, *holder).replicas;
        if !held.contains(&(*dir, rank, *nonce)) {
            let left = format!("S15: {holder} has no replica of {dir}, and is registered for one");
            return Err(Violation::LeftOver { rank, left });
        }
    }
    Ok(())
}

/// Whoever is asked sends a client towards the authority.
fn check_routes(state: &State, model: &Model, rank: Rank) -> Result<(), Violation> {
    for (number, dir) in model.world.dirs.iter().enumerate() {
        let mut here = rank;
        for _ in model.ranks() {
            match model.view(state, here).serves[number] {
                Serves::Elsewhere(next) => here = next,
                Serves::Yes | Serves::NotNow | Serves::Unknown => break,
            }
        }
        let owner = model.world.owner(dir, state.owner);
        if !is_alive(state, model, owner) || model.world.is_unsettled(dir.ino) {
            continue;
        }
        let knows = model.view(state, rank).serves[number] != Serves::Unknown;
        if (knows || rank == owner) && model.view(state, here).serves[number] != Serves::Yes {
            let left = format!("who asks for {} does not get to rank {owner}", dir.ino);
            return Err(Violation::LeftOver { rank, left });
        }
    }
    Ok(())
}

/// A message in a word.
#[must_use]
pub fn brief(letter: &Letter) -> String {
    let whole = match letter {
        Letter::Peer(PeerMsg::Migration(msg)) => format!("{:?}", msg.step),
        Letter::Peer(PeerMsg::Replica(msg)) => format!("{msg:?}"),
        Letter::Peer(PeerMsg::TwoPhase(msg)) => format!("{msg:?}"),
        Letter::Peer(PeerMsg::Load(msg)) => format!("{msg:?}"),
        letter => format!("{letter:?}"),
    };
    whole.chars().take(90).collect()
}

//! A mount's life: checks, the first question, the kernel's session, the clean end.

pub mod dead;
pub mod guard;
pub mod options;
pub mod presence;
pub mod process;
pub mod table;

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread;
use std::time::Duration;

use client_core::{Call, Done, Input, Params};
use common::error::FsError;
use common::id::{ClientId, Ino, Rank};
use common::wire::hello::Identity;
use common::wire::request::Caller;
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use rustix::mount::{UnmountFlags, unmount};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use transport::CredentialsError;

use crate::client::{Client, DIALS_MAX};
use crate::cluster::{Cluster, ClusterError};
use crate::config::Settings;
use crate::data::{DataStore, FileStore, OpenError};
use crate::fuse::{Fuse, KernelCaches, NameDropper, Profile};
use crate::mount::guard::Guard;
use crate::mount::options::Options;
use crate::mount::presence::Presence;
use crate::pool::Pool;
use crate::transport::{Parties, Transport};
use crate::watcher;

/// How long a mount waits for the root's authority to answer.
const FIRST_ANSWER: Duration = Duration::from_secs(30);
/// How long the end of a mount waits for everything to be durable.
const LAST_SYNC: Duration = Duration::from_secs(5);
/// Threads for the data store.
const POOL_THREADS: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("the mountpoint {} cannot be used: {reason}; make the directory first", path.display())]
    Mountpoint { path: PathBuf, reason: io::Error },
    #[error("the mountpoint {} is not a directory; name a directory", .0.display())]
    NotDirectory(PathBuf),
    #[error("a GroveFS is mounted at {} already; `grove umount` it first", .0.display())]
    MountedAlready(PathBuf),
    #[error(
        "no data store is named; use -o data=file:///DIR, GROVE_DATA or `data` in client.toml, with \
         the folder that `grove store init` made"
    )]
    NoDataStore,
    #[error(transparent)]
    DataStore(#[from] OpenError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("rank 0 does not answer (it is `{state}`); `grove status` shows the cluster")]
    NoAnswer { state: &'static str },
    #[error("the root directory cannot be read: {0}")]
    Root(FsError),
    #[error("cannot start: {0}")]
    Start(io::Error),
    #[error("the kernel refuses the mount: {0}; is the fuse module loaded, and are you root?")]
    Kernel(io::Error),
}

/// A file system that is mounted and served.
#[derive(Debug)]
pub struct Mount {
    mountpoint: PathBuf,
    client: Arc<Client>,
    transport: Transport,
    session: BackgroundSession,
    /// Held until the process ends.
    presence: Option<Presence>,
    guard: Option<Guard>,
}

impl Mount {
    /// Checks everything that can be checked, then mounts. It is usable when this returns.
    ///
    /// # Errors
    /// Names what is wrong, and what to do about it. Nothing is mounted then.
    pub fn start(
        settings: &Settings,
        options: &Options,
        mountpoint: &Path,
    ) -> Result<Self, MountError> {
        let mountpoint = check_mountpoint(mountpoint)?;
        let id = ClientId(random_number().map_err(MountError::Start)?);
        let (data, parties, map) = {
            let mut cluster = Cluster::connect(settings, Identity::Client(id))?;
            bury_the_dead(&mut cluster);
            let address = options.data.as_ref().or(settings.data.as_ref());
            let address = address.ok_or(MountError::NoDataStore)?;
            let data: Arc<dyn DataStore> = Arc::new(FileStore::open(address, cluster.map())?);
            let parties = Parties { cluster: cluster.id(), client: id, monitor: settings.monitor };
            (data, parties, cluster.map().clone())
        };
        let whose = parties.cluster;
        let (dials, orders) = mpsc::channel(DIALS_MAX);
        let client = Arc::new(Client::new(Params { client: id }, dials, Some(Arc::clone(&data))));
        let transport =
            Transport::start(settings.credentials()?, parties, Arc::clone(&client), orders)
                .map_err(MountError::Start)?;
        client.handle(Input::Map(map));
        watcher::start(Arc::downgrade(&client)).map_err(MountError::Start)?;
        let pool = Pool::new(POOL_THREADS).map_err(MountError::Start)?;
        ask_for_root(&client)?;

        let profile = options.profile;
        let session = mount(&mountpoint, Arc::clone(&client), data, pool, (profile, options))?;
        let dropper = NameDropper::start(session.notifier()).map_err(MountError::Start)?;
        client.drop_names_with(dropper);
        let caches = KernelCaches::start(session.notifier(), &Arc::downgrade(&client));
        if let Some(caches) = caches.map_err(MountError::Start)? {
            client.cache_with(caches);
        }
        let presence = presence::show(&mountpoint, whose, id);
        if let Err(error) = &presence {
            tracing::warn!(%error, "cannot record the mount; `grove umount` will not wait for us");
        }
        let guard = Guard::start(&mountpoint);
        if let Err(error) = &guard {
            tracing::warn!(%error, "no guard: if this process is killed, its users may hang");
        }
        let (presence, guard) = (presence.ok(), guard.ok());
        Ok(Self { mountpoint, client, transport, session, presence, guard })
    }

    /// Serves until the file system is unmounted, by somebody else or because of SIGINT or SIGTERM;
    /// then makes everything durable and gives everything back.
    ///
    /// # Errors
    /// The kernel's session broke.
    pub fn serve(self) -> io::Result<()> {
        let Self { mountpoint, client, transport, session, presence, guard } = self;
        let (ended, end) = oneshot::channel();
        thread::Builder::new().name("grove-session".to_owned()).spawn(move || {
            let _ = ended.send(session.join());
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(wait_for_end(&mountpoint, end));
        tracing::info!("unmounted");
        // Before this process ends: the number of the mount may belong to another one by now.
        drop(guard);
        sync(&client);
        client.handle(Input::Close);
        transport.stop();
        if let Some(presence) = presence {
            presence.done();
        }
        result
    }
}

fn check_mountpoint(path: &Path) -> Result<PathBuf, MountError> {
    let unusable = |reason| MountError::Mountpoint { path: path.to_owned(), reason };
    let path = table::locate(path).map_err(unusable)?;
    let unusable = |reason| MountError::Mountpoint { path: path.clone(), reason };
    while let Some(mounted) = table::find(&path).map_err(unusable)? {
        if !dead::is_dead(&mounted) {
            return Err(MountError::MountedAlready(path));
        }
        tracing::warn!(mountpoint = %path.display(), "taking the place of a mount that was killed");
        dead::unmount_dead(&path).map_err(unusable)?;
    }
    if !path.metadata().map_err(unusable)?.is_dir() {
        return Err(MountError::NotDirectory(path));
    }
    Ok(path)
}

/// Those that were killed on this machine hold things, and are waited for, until their leases end.
fn bury_the_dead(cluster: &mut Cluster) {
    for dead in presence::dead(cluster.id()) {
        tracing::info!(client = dead.client.0, "ending the sessions of a mount that was killed");
        match cluster.end_sessions(dead.client) {
            Ok(()) => dead.is_buried(),
            // Their leases will.
            Err(error) => tracing::info!(%error, "not everywhere"),
        }
    }
}

/// Chosen so that no two mounts have the same.
pub(crate) fn random_number() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A mount that cannot show its root is no mount.
fn ask_for_root(client: &Arc<Client>) -> Result<(), MountError> {
    let (sender, answer) = std_mpsc::channel();
    let call = Call::Getattr { ino: Ino::ROOT };
    client.call((Caller::default(), 0), call, move |result, _| {
        let _ = sender.send(result);
    });
    match answer.recv_timeout(FIRST_ANSWER) {
        Ok(Ok(Done::Attr(_))) => Ok(()),
        Ok(Ok(_)) => Err(MountError::Root(FsError::Io)),
        Ok(Err(error)) => Err(MountError::Root(error)),
        Err(_) => {
            let state = client.map().map_or("unknown", |map| map.state(Rank::ROOT).name());
            Err(MountError::NoAnswer { state })
        }
    }
}

fn mount(
    mountpoint: &Path,
    client: Arc<Client>,
    data: Arc<dyn DataStore>,
    pool: Pool,
    (profile, options): (Profile, &Options),
) -> Result<BackgroundSession, MountError> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("grovefs".to_owned()),
        MountOption::CUSTOM(format!("subtype={}", table::FILE_SYSTEM.trim_start_matches("fuse."))),
        MountOption::DefaultPermissions,
    ];
    config.mount_options.extend(options.kernel.iter().cloned());
    config.acl = SessionACL::All;
    config.n_threads = Some(options.threads);
    config.clone_fd = true;
    let fuse = Fuse::new(client, data, pool, profile);
    let session = Session::new(fuse, mountpoint, &config).map_err(MountError::Kernel)?;
    session.spawn().map_err(MountError::Kernel)
}

/// Waits for the kernel's session to end; a signal makes it end.
async fn wait_for_end(
    mountpoint: &Path,
    mut end: oneshot::Receiver<io::Result<()>>,
) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            ended = &mut end => return ended.unwrap_or(Ok(())),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        match unmount(mountpoint, UnmountFlags::empty()) {
            Ok(()) => {}
            Err(rustix::io::Errno::BUSY) => {
                tracing::warn!("in use: the mount ends when its last user has gone");
                unmount(mountpoint, UnmountFlags::DETACH)?;
            }
            Err(error) => tracing::warn!(%error, "cannot unmount"),
        }
    }
}

fn sync(client: &Arc<Client>) {
    let (sender, answer) = std_mpsc::channel();
    client.call((Caller::default(), 0), Call::Sync, move |result, _| {
        let _ = sender.send(result);
    });
    if answer.recv_timeout(LAST_SYNC).is_err() {
        tracing::warn!("not everything is known to be durable");
    }
}

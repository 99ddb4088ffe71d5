//! What kind of file system output goes to, where that changes what can be relied on.

use std::path::Path;

/// How much a kind of file system takes away from what a local disk gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Worth knowing.
    Note,
    /// Worth doing something about.
    Warning,
}

/// A kind of file system that is not a local disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: &'static str,
    /// How much it matters.
    pub care: Care,
    /// What it means for output.
    pub meaning: &'static str,
}

const SERVERS_LOCKS: &str = "locks hold between machines only where the server keeps them, and other machines may see finished parts some seconds late; two processes that make the same part do no harm but for the work";
const SHARED: &str = "shared between nodes; locks between them depend on how it is mounted (Lustre: `flock`), and many small parts load its metadata server: `alike compact` makes few";
const COPIES: &str = "renaming may be a copy and locks may hold for this machine alone (sshfs, s3fs, gcsfuse): a part that was cut short is told by its checksum and made again at the next start; let one process write here, and write to a local disk first where you can";
const MEMORY: &str = "kept in memory: what is not copied away is gone with the machine or the job";
const CONTAINER: &str = "a container's own layer, gone with the container unless the folder is mounted into it";
const FOREIGN: &str = "another system's folder: renaming in one step and locks are its server's business; each part is held against its checksum at every start";

/// Numbers that `statfs` gives: linux/magic.h, and the makers' own.
const KINDS: [(u32, Place); 15] = [
    (0x6969, Place { name: "NFS", care: Care::Note, meaning: SERVERS_LOCKS }),
    (0x0bd0_0bd0, Place { name: "Lustre", care: Care::Note, meaning: SHARED }),
    (0x4750_4653, Place { name: "GPFS", care: Care::Note, meaning: SHARED }),
    (0x1983_0326, Place { name: "BeeGFS", care: Care::Note, meaning: SHARED }),
    (0x00c3_6400, Place { name: "CephFS", care: Care::Note, meaning: SHARED }),
    (0x5346_414f, Place { name: "AFS", care: Care::Warning, meaning: FOREIGN }),
    (0x6573_5546, Place { name: "FUSE", care: Care::Warning, meaning: COPIES }),
    (0x517b, Place { name: "SMB", care: Care::Warning, meaning: FOREIGN }),
    (0xff53_4d42, Place { name: "CIFS", care: Care::Warning, meaning: FOREIGN }),
    (0xfe53_4d42, Place { name: "SMB 2", care: Care::Warning, meaning: FOREIGN }),
    (0x0102_1997, Place { name: "9P", care: Care::Warning, meaning: FOREIGN }),
    (0x786f_4256, Place { name: "VirtualBox's shared folder", care: Care::Warning, meaning: FOREIGN }),
    (0x0102_1994, Place { name: "tmpfs", care: Care::Note, meaning: MEMORY }),
    (0x8584_58f6, Place { name: "ramfs", care: Care::Note, meaning: MEMORY }),
    (0x794c_7630, Place { name: "overlay", care: Care::Note, meaning: CONTAINER }),
];

impl Place {
    /// The kind of file system below a folder that is there; `None` for a local disk, an unknown kind, or a system that does not say.
    pub fn of(folder: &Path) -> Option<Self> {
        kind(folder).and_then(Self::of_kind)
    }

    fn of_kind(number: u32) -> Option<Self> {
        KINDS.iter().find(|(known, _)| *known == number).map(|(_, place)| *place)
    }

    /// Says in one line of the log what output in a folder is to reckon with.
    pub fn tell(folder: &Path) {
        let Some(Self { name, care, meaning }) = Self::of(folder) else { return };
        let folder = folder.display();
        match care {
            Care::Note => tracing::info!("{folder} is on {name}: {meaning}"),
            Care::Warning => tracing::warn!("{folder} is on {name}: {meaning}"),
        }
    }
}

#[cfg(target_os = "linux")]
fn kind(folder: &Path) -> Option<u32> {
    let number = nix::sys::statfs::statfs(folder).ok()?.filesystem_type().0;
    // The numbers are of 32 bits; systems sign them as they like.
    u32::try_from(number & 0xffff_ffff).ok()
}

#[cfg(not(target_os = "linux"))]
fn kind(_: &Path) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(Place::of_kind(0x6969).map(|place| place.care), Some(Care::Note));
        assert_eq!(Place::of_kind(0xff53_4d42).map(|place| place.name), Some("CIFS"));
        // ext4 is what everything is compared with.
        assert_eq!(Place::of_kind(0xef53), None);
        let numbers: std::collections::BTreeSet<u32> = KINDS.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers.len(), KINDS.len());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_recognised() {
        assert_eq!(Place::of(Path::new("/no/such/folder")), None);
        if Path::new("/dev/shm").is_dir() {
            assert_eq!(Place::of(Path::new("/dev/shm")).map(|place| place.name), Some("tmpfs"));
        }
    }
}

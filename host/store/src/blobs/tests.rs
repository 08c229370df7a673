use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};

use super::*;

const MAX: u64 = 1 << 20;
const NOW: i64 = 4_000_000_000_000;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn digest(bytes: &[u8]) -> Digest {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
        .parse()
        .unwrap()
}

async fn put(room: &BlobRoom, bytes: &[u8], max: u64) -> Result<Digest, BlobFault> {
    let mut upload = room.begin(max).await?;
    for piece in bytes.chunks(1_000) {
        upload.write(piece.to_vec().into()).await?;
    }
    let digest = digest(bytes);
    upload.finish(&digest).await?;
    Ok(digest)
}

async fn get(room: &BlobRoom, digest: &Digest, range: std::ops::Range<u64>) -> Result<Vec<u8>, BlobFault> {
    let pieces: Vec<bytes::Bytes> = room.read(digest, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder).unwrap() {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn what_was_put_there_can_be_had_by_the_tenants_connections_and_nobody_else() {
    let root = tempfile::tempdir().unwrap();
    let folder = BlobFolder::new(root.path().join("blobs"));
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let shop = folder.room(&name("acme"), &name("shop"));
    let digest = put(&shop, &bytes, 4 << 20).await.unwrap();
    let erp = folder.room(&name("acme"), &name("erp"));
    assert_eq!(erp.size(&digest).await.unwrap(), Some(1_200_000));
    assert!(get(&erp, &digest, 0..u64::MAX).await.unwrap() == bytes);
    assert_eq!(get(&erp, &digest, 8..12).await.unwrap(), 2_u32.to_le_bytes());
    assert_eq!(get(&erp, &digest, 1_199_999..1_300_000).await.unwrap(), [0]);
    assert!(get(&erp, &digest, 2_000_000..2_000_001).await.unwrap().is_empty());

    let other = folder.room(&name("other"), &name("shop"));
    assert_eq!(other.size(&digest).await.unwrap(), None);
    assert!(matches!(
        get(&other, &digest, 0..1).await,
        Err(BlobFault::NotFound { .. })
    ));
    // Another process sees the same.
    let again = BlobFolder::new(root.path().join("blobs"));
    assert_eq!(
        again
            .room(&name("acme"), &name("shop"))
            .size(&digest)
            .await
            .unwrap(),
        Some(1_200_000)
    );
}

#[tokio::test]
async fn what_is_given_up_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let shop = BlobFolder::new(root.path().to_owned()).room(&name("acme"), &name("shop"));
    let mut upload = shop.begin(MAX).await.unwrap();
    upload.write(vec![7; 500_000].into()).await.unwrap();
    drop(upload);
    assert_eq!(files(root.path()), Vec::<PathBuf>::new());
    put(&shop, &[1; 1_000_000], MAX).await.unwrap();
}

#[tokio::test]
async fn the_quota_is_for_all_that_is_there_and_on_its_way() {
    let root = tempfile::tempdir().unwrap();
    let folder = BlobFolder::new(root.path().to_owned());
    let shop = folder.room(&name("acme"), &name("shop"));
    put(&shop, &[1; 600_000], MAX).await.unwrap();
    // The same again is the same.
    put(&shop, &[1; 600_000], 2 * MAX).await.unwrap();
    let mut first = shop.begin(MAX).await.unwrap();
    first.write(vec![2; 300_000].into()).await.unwrap();
    let mut second = shop.begin(MAX).await.unwrap();
    match second.write(vec![3; 300_000].into()).await {
        Err(BlobFault::Quota { needed, max }) => assert_eq!((needed, max), (1_200_000, MAX)),
        other => panic!("{other:?}"),
    }
    drop(first);
    second.write(vec![3; 300_000].into()).await.unwrap();
    drop(second);
    // Another connection's count is its own, also for what is there already.
    let erp = folder.room(&name("acme"), &name("erp"));
    put(&erp, &[1; 600_000], MAX).await.unwrap();
    assert!(matches!(
        put(&erp, &[2; 600_000], MAX).await,
        Err(BlobFault::Quota { .. })
    ));
    // And so it is after a restart.
    let again = BlobFolder::new(root.path().to_owned()).room(&name("acme"), &name("shop"));
    assert!(matches!(
        put(&again, &[2; 600_000], MAX).await,
        Err(BlobFault::Quota { .. })
    ));
    // Tiny ones count too, or there could be any number of them.
    let tiny = folder.room(&name("acme"), &name("tiny"));
    put(&tiny, b"", 8_192).await.unwrap();
    put(&tiny, b"a", 8_192).await.unwrap();
    assert!(matches!(
        put(&tiny, b"b", 8_192).await,
        Err(BlobFault::Quota { needed: 12_288, .. })
    ));
}

#[tokio::test]
async fn what_was_damaged_is_whole_again_when_somebody_puts_it_there() {
    let root = tempfile::tempdir().unwrap();
    let shop = BlobFolder::new(root.path().to_owned()).room(&name("acme"), &name("shop"));
    let digest = put(&shop, b"the right bytes", MAX).await.unwrap();
    fs::write(shop_content(root.path(), &digest), b"others").unwrap();
    put(&shop, b"the right bytes", MAX).await.unwrap();
    assert_eq!(get(&shop, &digest, 0..100).await.unwrap(), b"the right bytes");
}

fn shop_content(root: &Path, digest: &Digest) -> PathBuf {
    Places::new(root, &name("acme"), &name("shop")).content_of(digest)
}

#[tokio::test]
async fn what_nobody_uses_is_forgotten_and_what_is_used_stays() {
    let root = tempfile::tempdir().unwrap();
    let folder = BlobFolder::new(root.path().to_owned());
    let shop = folder.room(&name("acme"), &name("shop"));
    let (old, used) = (
        put(&shop, b"old", MAX).await.unwrap(),
        put(&shop, b"used", MAX).await.unwrap(),
    );
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for digest in [&old, &used] {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(shop_content(root.path(), digest))
            .unwrap();
        file.set_modified(long_ago).unwrap();
    }
    // A look is a use.
    assert_eq!(shop.size(&used).await.unwrap(), Some(4));
    let year_2001 = 1_000_000_000_001;
    assert_eq!(folder.forget(year_2001).await.unwrap(), 1);
    assert_eq!(shop.size(&old).await.unwrap(), None);
    assert_eq!(get(&shop, &used, 0..100).await.unwrap(), b"used");
    // Its count is gone with it.
    assert!(matches!(
        put(&shop, b"one", 4_096).await,
        Err(BlobFault::Quota { needed: 8_192, .. })
    ));
    put(&shop, b"one", 8_192).await.unwrap();

    assert_eq!(folder.forget(NOW).await.unwrap(), 2);
    assert_eq!(files(&root.path().join("acme/content")), Vec::<PathBuf>::new());
    put(&shop, b"two", 4_096).await.unwrap();
}

/// What a process left behind that was killed: half a blob, and a count for one that never came.
#[tokio::test]
async fn what_was_abandoned_is_removed_once_nobody_can_be_at_it_any_more() {
    let root = tempfile::tempdir().unwrap();
    let folder = BlobFolder::new(root.path().to_owned());
    let shop = folder.room(&name("acme"), &name("shop"));
    let kept = put(&shop, b"kept", MAX).await.unwrap();
    let (half, count) = (
        root.path().join("acme/new/in-1"),
        root.path().join("acme/held/shop").join("0".repeat(64)),
    );
    for file in [&half, &count] {
        fs::write(file, b"").unwrap();
    }
    assert_eq!(folder.forget(0).await.unwrap(), 0);
    assert!(half.exists() && count.exists(), "somebody may be at it");
    for file in [&half, &count] {
        let file = fs::OpenOptions::new().write(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - ABANDONED - Duration::from_secs(1))
            .unwrap();
    }
    assert_eq!(folder.forget(0).await.unwrap(), 0);
    assert!(!half.exists() && !count.exists());
    assert_eq!(get(&shop, &kept, 0..100).await.unwrap(), b"kept");
}

#[tokio::test]
async fn a_folder_that_is_not_there_has_nothing_to_forget() {
    let root = tempfile::tempdir().unwrap();
    let folder = BlobFolder::new(root.path().join("blobs"));
    assert_eq!(folder.forget(NOW).await.unwrap(), 0);
    assert!(!root.path().join("blobs").exists());
}

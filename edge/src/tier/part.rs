//! A part of a response that is stored apart, found on disk.

use std::sync::Arc;

use headland_cache::disk::{DiskTier, FoundBody, FoundRecord};
use headland_cache::{Body, CacheKey, StoredHead};

use super::stream::DiskReader;
use super::{Waits, at_once, belongs_into_memory, insert, into_memory, wait_for};
use crate::node::Node;

/// A record whose body is here, or read as it is sent.
pub struct PartOnDisk {
    disk: Arc<DiskTier>,
    record: FoundRecord,
}

/// What the disk has under the key of a part.
pub async fn part(node: &Node, key: &CacheKey) -> Option<PartOnDisk> {
    let disk = node.disk.get().filter(|_| node.may_be_on_disk(key.as_ref()))?.clone();
    let record = match at_once(&disk, key, |_| true) {
        Ok(found) => found,
        Err(Waits) => wait_for(&disk, key, |_| true).await,
    };
    Some(PartOnDisk { disk, record: record? })
}

impl PartOnDisk {
    pub fn head(&self) -> &StoredHead {
        &self.record.object.head
    }

    /// Reads its bytes from `first` up to, not including, `end`, as they are sent; it goes into memory by the rule of
    /// promotion. None when it is lost, or small enough to be here.
    pub async fn stream(self, node: &Arc<Node>, first: u64, end: u64) -> Result<DiskReader, Self> {
        let FoundBody::Pieces(body) = &self.record.body else { return Err(self) };
        let is_kept = belongs_into_memory(node, &self.disk, &self.record);
        let mut reader = DiskReader::new(self.disk.clone(), self.record.object.key.clone(), body.clone(), first, end);
        if !reader.begin().await {
            return Err(self);
        }
        if is_kept {
            let (keeper, record) = (node.clone(), self.record);
            let keep = move |whole| drop(tokio::spawn(async move { insert(&keeper, &record, whole).await }));
            reader = reader.keeping(keep);
        }
        Ok(reader)
    }

    /// All of it, in memory from now on; none when it is lost.
    pub async fn load(self, node: &Node) -> Option<Body> {
        let object = into_memory(node, &self.disk, Arc::new(self.record)).await?;
        Some(object.body.clone())
    }
}

//! Where OpenMLS puts what it wants kept. A member lives in memory, its groups with it, so only private keys are kept here;
//! what OpenMLS writes of a group after every message is dropped, which is most of the cost of a message in a large room.

use openmls_rust_crypto::{MemoryStorage, MemoryStorageError, RustCrypto};
use openmls_traits::OpenMlsProvider;
use openmls_traits::storage::{CURRENT_VERSION as V, StorageProvider, traits};

/// OpenMLS' cryptography over [`Keys`].
#[derive(Default)]
pub(crate) struct Provider {
    crypto: RustCrypto,
    keys: Keys,
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = Keys;

    fn storage(&self) -> &Keys {
        &self.keys
    }

    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        &self.crypto
    }
}

/// Private keys; nothing else.
#[derive(Default)]
pub(crate) struct Keys(MemoryStorage);

impl StorageProvider<V> for Keys {
    type Error = MemoryStorageError;

    fn write_mls_join_config<GroupId: traits::GroupId<V>, MlsGroupJoinConfig: traits::MlsGroupJoinConfig<V>>(
        &self,
        _: &GroupId,
        _: &MlsGroupJoinConfig,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn append_own_leaf_node<GroupId: traits::GroupId<V>, LeafNode: traits::LeafNode<V>>(
        &self,
        _: &GroupId,
        _: &LeafNode,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn queue_proposal<
        GroupId: traits::GroupId<V>,
        ProposalRef: traits::ProposalRef<V>,
        QueuedProposal: traits::QueuedProposal<V>,
    >(
        &self,
        _: &GroupId,
        _: &ProposalRef,
        _: &QueuedProposal,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_tree<GroupId: traits::GroupId<V>, TreeSync: traits::TreeSync<V>>(
        &self,
        _: &GroupId,
        _: &TreeSync,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_interim_transcript_hash<
        GroupId: traits::GroupId<V>,
        InterimTranscriptHash: traits::InterimTranscriptHash<V>,
    >(
        &self,
        _: &GroupId,
        _: &InterimTranscriptHash,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_context<GroupId: traits::GroupId<V>, GroupContext: traits::GroupContext<V>>(
        &self,
        _: &GroupId,
        _: &GroupContext,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_confirmation_tag<GroupId: traits::GroupId<V>, ConfirmationTag: traits::ConfirmationTag<V>>(
        &self,
        _: &GroupId,
        _: &ConfirmationTag,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_group_state<GroupState: traits::GroupState<V>, GroupId: traits::GroupId<V>>(
        &self,
        _: &GroupId,
        _: &GroupState,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_message_secrets<GroupId: traits::GroupId<V>, MessageSecrets: traits::MessageSecrets<V>>(
        &self,
        _: &GroupId,
        _: &MessageSecrets,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_resumption_psk_store<GroupId: traits::GroupId<V>, ResumptionPskStore: traits::ResumptionPskStore<V>>(
        &self,
        _: &GroupId,
        _: &ResumptionPskStore,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_own_leaf_index<GroupId: traits::GroupId<V>, LeafNodeIndex: traits::LeafNodeIndex<V>>(
        &self,
        _: &GroupId,
        _: &LeafNodeIndex,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_group_epoch_secrets<GroupId: traits::GroupId<V>, GroupEpochSecrets: traits::GroupEpochSecrets<V>>(
        &self,
        _: &GroupId,
        _: &GroupEpochSecrets,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_application_export_tree<
        GroupId: traits::GroupId<V>,
        ApplicationExportTree: traits::ApplicationExportTree<V>,
    >(
        &self,
        _: &GroupId,
        _: &ApplicationExportTree,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write_signature_key_pair<
        SignaturePublicKey: traits::SignaturePublicKey<V>,
        SignatureKeyPair: traits::SignatureKeyPair<V>,
    >(
        &self,
        public_key: &SignaturePublicKey,
        signature_key_pair: &SignatureKeyPair,
    ) -> Result<(), Self::Error> {
        self.0.write_signature_key_pair(public_key, signature_key_pair)
    }

    fn write_encryption_key_pair<EncryptionKey: traits::EncryptionKey<V>, HpkeKeyPair: traits::HpkeKeyPair<V>>(
        &self,
        public_key: &EncryptionKey,
        key_pair: &HpkeKeyPair,
    ) -> Result<(), Self::Error> {
        self.0.write_encryption_key_pair(public_key, key_pair)
    }

    fn write_encryption_epoch_key_pairs<
        GroupId: traits::GroupId<V>,
        EpochKey: traits::EpochKey<V>,
        HpkeKeyPair: traits::HpkeKeyPair<V>,
    >(
        &self,
        group_id: &GroupId,
        epoch: &EpochKey,
        leaf_index: u32,
        key_pairs: &[HpkeKeyPair],
    ) -> Result<(), Self::Error> {
        self.0
            .write_encryption_epoch_key_pairs(group_id, epoch, leaf_index, key_pairs)
    }

    fn write_key_package<HashReference: traits::HashReference<V>, KeyPackage: traits::KeyPackage<V>>(
        &self,
        hash_ref: &HashReference,
        key_package: &KeyPackage,
    ) -> Result<(), Self::Error> {
        self.0.write_key_package(hash_ref, key_package)
    }

    fn write_psk<PskId: traits::PskId<V>, PskBundle: traits::PskBundle<V>>(
        &self,
        psk_id: &PskId,
        psk: &PskBundle,
    ) -> Result<(), Self::Error> {
        self.0.write_psk(psk_id, psk)
    }

    fn mls_group_join_config<GroupId: traits::GroupId<V>, MlsGroupJoinConfig: traits::MlsGroupJoinConfig<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<MlsGroupJoinConfig>, Self::Error> {
        Ok(None)
    }

    fn own_leaf_nodes<GroupId: traits::GroupId<V>, LeafNode: traits::LeafNode<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Vec<LeafNode>, Self::Error> {
        Ok(Vec::new())
    }

    fn queued_proposal_refs<GroupId: traits::GroupId<V>, ProposalRef: traits::ProposalRef<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Vec<ProposalRef>, Self::Error> {
        Ok(Vec::new())
    }

    fn queued_proposals<
        GroupId: traits::GroupId<V>,
        ProposalRef: traits::ProposalRef<V>,
        QueuedProposal: traits::QueuedProposal<V>,
    >(
        &self,
        _: &GroupId,
    ) -> Result<Vec<(ProposalRef, QueuedProposal)>, Self::Error> {
        Ok(Vec::new())
    }

    fn tree<GroupId: traits::GroupId<V>, TreeSync: traits::TreeSync<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<TreeSync>, Self::Error> {
        Ok(None)
    }

    fn group_context<GroupId: traits::GroupId<V>, GroupContext: traits::GroupContext<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<GroupContext>, Self::Error> {
        Ok(None)
    }

    fn interim_transcript_hash<GroupId: traits::GroupId<V>, InterimTranscriptHash: traits::InterimTranscriptHash<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<InterimTranscriptHash>, Self::Error> {
        Ok(None)
    }

    fn confirmation_tag<GroupId: traits::GroupId<V>, ConfirmationTag: traits::ConfirmationTag<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<ConfirmationTag>, Self::Error> {
        Ok(None)
    }

    fn group_state<GroupState: traits::GroupState<V>, GroupId: traits::GroupId<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<GroupState>, Self::Error> {
        Ok(None)
    }

    fn message_secrets<GroupId: traits::GroupId<V>, MessageSecrets: traits::MessageSecrets<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<MessageSecrets>, Self::Error> {
        Ok(None)
    }

    fn resumption_psk_store<GroupId: traits::GroupId<V>, ResumptionPskStore: traits::ResumptionPskStore<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<ResumptionPskStore>, Self::Error> {
        Ok(None)
    }

    fn own_leaf_index<GroupId: traits::GroupId<V>, LeafNodeIndex: traits::LeafNodeIndex<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<LeafNodeIndex>, Self::Error> {
        Ok(None)
    }

    fn group_epoch_secrets<GroupId: traits::GroupId<V>, GroupEpochSecrets: traits::GroupEpochSecrets<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<GroupEpochSecrets>, Self::Error> {
        Ok(None)
    }

    fn signature_key_pair<
        SignaturePublicKey: traits::SignaturePublicKey<V>,
        SignatureKeyPair: traits::SignatureKeyPair<V>,
    >(
        &self,
        public_key: &SignaturePublicKey,
    ) -> Result<Option<SignatureKeyPair>, Self::Error> {
        self.0.signature_key_pair(public_key)
    }

    fn encryption_key_pair<HpkeKeyPair: traits::HpkeKeyPair<V>, EncryptionKey: traits::EncryptionKey<V>>(
        &self,
        public_key: &EncryptionKey,
    ) -> Result<Option<HpkeKeyPair>, Self::Error> {
        self.0.encryption_key_pair(public_key)
    }

    fn encryption_epoch_key_pairs<
        GroupId: traits::GroupId<V>,
        EpochKey: traits::EpochKey<V>,
        HpkeKeyPair: traits::HpkeKeyPair<V>,
    >(
        &self,
        group_id: &GroupId,
        epoch: &EpochKey,
        leaf_index: u32,
    ) -> Result<Vec<HpkeKeyPair>, Self::Error> {
        self.0.encryption_epoch_key_pairs(group_id, epoch, leaf_index)
    }

    fn key_package<KeyPackageRef: traits::HashReference<V>, KeyPackage: traits::KeyPackage<V>>(
        &self,
        hash_ref: &KeyPackageRef,
    ) -> Result<Option<KeyPackage>, Self::Error> {
        self.0.key_package(hash_ref)
    }

    fn psk<PskBundle: traits::PskBundle<V>, PskId: traits::PskId<V>>(
        &self,
        psk_id: &PskId,
    ) -> Result<Option<PskBundle>, Self::Error> {
        self.0.psk(psk_id)
    }

    fn application_export_tree<GroupId: traits::GroupId<V>, ApplicationExportTree: traits::ApplicationExportTree<V>>(
        &self,
        _: &GroupId,
    ) -> Result<Option<ApplicationExportTree>, Self::Error> {
        Ok(None)
    }

    fn remove_proposal<GroupId: traits::GroupId<V>, ProposalRef: traits::ProposalRef<V>>(
        &self,
        _: &GroupId,
        _: &ProposalRef,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_own_leaf_nodes<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_group_config<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_tree<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_confirmation_tag<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_group_state<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_context<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_interim_transcript_hash<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_message_secrets<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_all_resumption_psk_secrets<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_own_leaf_index<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_group_epoch_secrets<GroupId: traits::GroupId<V>>(&self, _: &GroupId) -> Result<(), Self::Error> {
        Ok(())
    }

    fn clear_proposal_queue<GroupId: traits::GroupId<V>, ProposalRef: traits::ProposalRef<V>>(
        &self,
        _: &GroupId,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn delete_signature_key_pair<SignaturePublicKey: traits::SignaturePublicKey<V>>(
        &self,
        public_key: &SignaturePublicKey,
    ) -> Result<(), Self::Error> {
        self.0.delete_signature_key_pair(public_key)
    }

    fn delete_encryption_key_pair<EncryptionKey: traits::EncryptionKey<V>>(
        &self,
        public_key: &EncryptionKey,
    ) -> Result<(), Self::Error> {
        self.0.delete_encryption_key_pair(public_key)
    }

    fn delete_encryption_epoch_key_pairs<GroupId: traits::GroupId<V>, EpochKey: traits::EpochKey<V>>(
        &self,
        group_id: &GroupId,
        epoch: &EpochKey,
        leaf_index: u32,
    ) -> Result<(), Self::Error> {
        self.0.delete_encryption_epoch_key_pairs(group_id, epoch, leaf_index)
    }

    fn delete_key_package<KeyPackageRef: traits::HashReference<V>>(
        &self,
        hash_ref: &KeyPackageRef,
    ) -> Result<(), Self::Error> {
        self.0.delete_key_package(hash_ref)
    }

    fn delete_psk<PskKey: traits::PskId<V>>(&self, psk_id: &PskKey) -> Result<(), Self::Error> {
        self.0.delete_psk(psk_id)
    }

    fn delete_application_export_tree<
        GroupId: traits::GroupId<V>,
        ApplicationExportTree: traits::ApplicationExportTree<V>,
    >(
        &self,
        _: &GroupId,
    ) -> Result<(), Self::Error> {
        Ok(())
    }
}

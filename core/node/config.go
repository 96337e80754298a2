package node

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/member"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage"
)

// The defaults of a Config; those that etcd has too are etcd's.
const (
	DefaultHeartbeatInterval = 100 * time.Millisecond
	DefaultElectionTimeout   = time.Second
	DefaultMaxRequestBytes   = 1536 * 1024 // etcd's --max-request-bytes
	DefaultFlushCommands     = 100_000

	// MaxRequestLimit bounds Config.Limits.RequestBytes: the raft log refuses a larger
	// record, and a refused append ends the member.
	MaxRequestLimit = 512 << 20

	defaultWarnApply    = 100 * time.Millisecond
	defaultClusterToken = "etcd-cluster"
	defaultName         = "default"
	defaultPeerURL      = "http://localhost:2380"
	defaultRowCache     = 64 << 20
	defaultZnodeCache   = 32 << 20
	defaultRing         = 32 << 20

	defaultCompactionCheck = time.Minute // etcd's --compact-hash-check-time
)

// Peer is a founding member as --initial-cluster names it.
type Peer = member.Peer

// Config sets up a member. Only DataDir is required.
type Config struct {
	// Name is the member's name, "default" if empty.
	Name string
	// DataDir holds all that the member keeps. It is made if it is missing.
	DataDir string
	WAL     WAL
	Cluster Founding
	// AdvertiseClientURLs is where clients are told to find this member.
	AdvertiseClientURLs []string

	Peers   PeerConfig
	Members MemberRules
	Timing  Timing
	Limits  Limits
	Upkeep
	// Auth is how callers prove who they are; the zero value has defaults.
	Auth   AuthConfig
	Leases Leases
	// ACLPolicy is what becomes of etcd's and HTTP's requests that touch what the ACLs of
	// znodes forbid (--zk-acl-over-etcd): a setting of the cluster, which this member has
	// it take when it starts; nil leaves it as it is, at first core.ZnodeACLDeny.
	ACLPolicy *core.ZnodeACLPolicy
	// Memory bounds what the member caches; the zero value has defaults.
	Memory Memory

	// Logger gets what an operator should know; nil is slog.Default.
	Logger *slog.Logger
	// Metrics gets the member's metrics; nil is none.
	Metrics prometheus.Registerer
	// FS is the file system; nil is the operating system's.
	FS storage.FS
}

// Upkeep is what a member does by itself now and then.
type Upkeep struct {
	AutoCompaction AutoCompaction
	Collector      Collector
	Reaper         Reaper
	Corruption     Corruption
}

// WAL says how the raft log is kept.
type WAL struct {
	// Dir holds the raft log instead of DataDir, below a directory of the member's name
	// (--wal-dir); empty is in DataDir. It is the same for as long as the member lives.
	Dir string
	// UnsafeNoSync leaves out its syncs (--unsafe-no-fsync): a power failure may take
	// what was acknowledged.
	UnsafeNoSync bool
	// SegmentBytes is the size of the log's files; zero is raftlog.DefaultSegmentBytes.
	SegmentBytes int64
}

// Founding says which cluster a member founds, or founded: it matters at its
// first start, and is compared with the data directory at later ones.
type Founding struct {
	// Peers are the founding members; none is this member alone.
	Peers []Peer
	// Token tells clusters with the same members apart; "etcd-cluster" if empty.
	Token string
	// AdvertisePeerURLs are this member's peer URLs; http://localhost:2380 if
	// empty.
	AdvertisePeerURLs []string
	// Mount is the path below which keys are znodes, fixed for good when the cluster
	// is founded: "/zk" makes znode /a of key /zk/a, "/" makes every key that can be
	// one a znode. Empty is "/zk" at the first start, and later whatever it was.
	Mount string
	// Existing says that the cluster is there already, to be joined by this member, which
	// was added to it (--initial-cluster-state=existing).
	Existing bool
	// ForceNew has this member go on alone, with what it has, under the same ids: all other
	// members are removed (--force-new-cluster).
	ForceNew bool
	// TrustDataDir takes the identity in the data directory for right even if it
	// is not the one that the other fields describe, as etcd does.
	TrustDataDir bool
}

// DefaultMaxLearners is etcd's --max-learners.
const DefaultMaxLearners = 1

// MemberRules say how members come and go, and what this one does while it is a learner.
type MemberRules struct {
	// MaxLearners is how many learners there may be (--max-learners); zero is
	// DefaultMaxLearners, negative is none. Those that were founded as such count, too.
	MaxLearners int
	// Loose leaves out the checks that a change leaves a quorum of members which have
	// started and can be reached (--strict-reconfig-check=false).
	Loose bool
	// Observer has this member serve clients while it is a learner (--observer): reads,
	// watches, ZooKeeper's sessions. Its client URLs are published then.
	Observer bool
}

// Timing is how fast raft ticks. A zero is the default of that part.
type Timing struct {
	// Heartbeat is a tick of raft, 100 ms by default, Election how long a member waits
	// for a leader, 1 s by default.
	Heartbeat, Election time.Duration
	// LateElection has a member that starts wait for a leader as long as at any other time
	// (--initial-election-tick-advance=false).
	LateElection bool
}

// Limits bounds what is stored, and how long things may take.
type Limits struct {
	// QuotaBytes is the logical size beyond which writes that need space are
	// refused; zero or less is no quota.
	QuotaBytes int64
	// RequestBytes bounds an encoded command (--max-request-bytes); zero is 1.5 MiB.
	RequestBytes int
	// FlushCommands is the number of commands that a restart may have to replay:
	// the state is flushed when the log beyond it holds more. Zero is 100 000.
	FlushCommands uint64
	// LowDiskBytes is the watermark: with less room on the disk, the NOSPACE alarm is
	// raised until there is half as much again. Zero is 256 MiB, or a twentieth of the
	// disk if that is less; negative is none.
	LowDiskBytes int64
	// ApplyTime is how long a batch of commands may take to be applied before a line
	// says so (--warning-apply-duration); zero is 100 ms, less is never.
	ApplyTime time.Duration
	// TransferBytesPerSecond is how fast the state is sent to members that need it, all
	// together; zero is DefaultTransferRate, negative is as fast as it goes.
	TransferBytesPerSecond int64
	// CatchUpEntries is how many entries of the log are kept for members that are behind
	// (--snapshot-catchup-entries): one that lacks more is sent the state. Zero is etcd's
	// 5000, or more if they are small; see logKept.
	CatchUpEntries uint64
}

// Leases are etcd's feature gates of that name.
type Leases struct {
	// Checkpoint has the time that leases have left written down now and then, so that a
	// new leader need not give them all of it; CheckpointPersist needs it, and adds
	// nothing to it, as in etcd since 3.6.
	Checkpoint, CheckpointPersist bool
}

// Collector sets the pace at which the history that a compaction gave up is removed.
type Collector struct {
	// BatchRows is how many changes are handled in one batch
	// (--compaction-batch-limit); zero is 40.
	BatchRows int
	// Pause is the rest after each batch (--compaction-sleep-interval); zero is three
	// times what half a millisecond of batches took, a nanosecond next to none.
	Pause time.Duration
}

// Corruption says when the members' states are compared, which costs each a walk over
// all of its own. The zero value is never.
type Corruption struct {
	// Interval is how often the leader has it done (--corrupt-check-time); zero is never.
	Interval time.Duration
	// AfterCompaction has it done after compactions, too (gate CompactHashCheck), which are
	// looked for every CompactionInterval (--compact-hash-check-time); zero is a minute.
	AfterCompaction    bool
	CompactionInterval time.Duration
	// AtStart has a member that is not new compared with the others before it serves
	// (gate InitialCorruptCheck).
	AtStart bool
}

// Memory bounds what a member caches, in bytes. A zero is the default of that
// part.
type Memory struct {
	RowCache, ZnodeCache, Ring, BlockCache, MemTable int64
}

// Budget is the sum of the bounds.
func (m Memory) Budget() int64 {
	m = m.withDefaults()
	return m.RowCache + m.ZnodeCache + znode.MaxListBytes + m.Ring + m.engine().Budget()
}

func (m Memory) withDefaults() Memory {
	if m.RowCache == 0 {
		m.RowCache = defaultRowCache
	}
	if m.ZnodeCache == 0 {
		m.ZnodeCache = defaultZnodeCache
	}
	if m.Ring == 0 {
		m.Ring = defaultRing
	}
	return m
}

func (m Memory) engine() storage.Options {
	return storage.Options{CacheBytes: m.BlockCache, MemTableBytes: m.MemTable}
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = defaultName
	}
	if c.Cluster.Token == "" {
		c.Cluster.Token = defaultClusterToken
	}
	if len(c.Cluster.AdvertisePeerURLs) == 0 {
		c.Cluster.AdvertisePeerURLs = []string{defaultPeerURL}
	}
	if len(c.Cluster.Peers) == 0 {
		c.Cluster.Peers = []Peer{{Name: c.Name, URLs: c.Cluster.AdvertisePeerURLs}}
	}
	if c.Members.MaxLearners == 0 {
		c.Members.MaxLearners = DefaultMaxLearners
	}
	if c.Timing.Heartbeat == 0 {
		c.Timing.Heartbeat = DefaultHeartbeatInterval
	}
	if c.Timing.Election == 0 {
		c.Timing.Election = DefaultElectionTimeout
	}
	if c.Limits.RequestBytes == 0 {
		c.Limits.RequestBytes = DefaultMaxRequestBytes
	}
	if c.Limits.TransferBytesPerSecond == 0 {
		c.Limits.TransferBytesPerSecond = DefaultTransferRate
	}
	if c.Limits.FlushCommands == 0 {
		c.Limits.FlushCommands = DefaultFlushCommands
	}
	c.Memory = c.Memory.withDefaults()
	c.Auth = c.Auth.withDefaults()
	c.Reaper = c.Reaper.withDefaults()
	if c.Corruption.CompactionInterval == 0 {
		c.Corruption.CompactionInterval = defaultCompactionCheck
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.FS == nil {
		c.FS = storage.DefaultFS
	}
	return c
}

func (c *Config) validate() error {
	switch {
	case c.DataDir == "":
		return errors.New("no data directory is given")
	case c.Limits.RequestBytes < 0:
		return fmt.Errorf("the limit of a request is negative: %d bytes", c.Limits.RequestBytes)
	case c.Limits.RequestBytes > MaxRequestLimit:
		return fmt.Errorf("--max-request-bytes of %d is too much: the most is %d", c.Limits.RequestBytes, MaxRequestLimit)
	case c.Leases.CheckpointPersist && !c.Leases.Checkpoint:
		return errors.New("enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint")
	case c.Collector.BatchRows < 0 || c.Collector.Pause < 0:
		return fmt.Errorf("the pace of the removal of history is negative: batches of %d, pauses of %v", c.Collector.BatchRows, c.Collector.Pause)
	case c.Corruption.Interval < 0 || c.Corruption.CompactionInterval < 0:
		return fmt.Errorf("the time between comparisons of the members is negative: --corrupt-check-time %v, --compact-hash-check-time %v",
			c.Corruption.Interval, c.Corruption.CompactionInterval)
	case c.Timing.Election < 5*c.Timing.Heartbeat:
		return fmt.Errorf("the election timeout (%v) must be at least five heartbeat intervals (%v each)", c.Timing.Election, c.Timing.Heartbeat)
	}
	if _, err := mountPrefix(c.Cluster.Mount); err != nil {
		return err
	}
	if err := c.Reaper.validate(); err != nil {
		return err
	}
	return c.AutoCompaction.validate()
}

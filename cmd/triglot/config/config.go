package config

import (
	"log/slog"
	"time"
)

// Mode says whose command line is spoken.
type Mode uint8

// The modes.
const (
	Serve     Mode = iota // triglot serve
	Etcd                  // triglot etcd, or the binary under the name etcd
	ZooKeeper             // triglot zookeeper
)

// Config is a checked configuration. Every field has its value, given or default.
type Config struct {
	Mode      Mode
	Member    Member
	Listen    Listen
	Cluster   Cluster
	ZooKeeper ZK
	Requests  Requests
	TLS       TLS
	Auth      Auth
	Log       Log
	// Gates are etcd's feature gates, all of them.
	Gates Gates
	// Extensive asks for metrics that cost more: --metrics=extensive.
	Extensive bool
	// Notes are what the operator should read in the log, in order.
	Notes []Note

	metrics    string // --metrics as given
	configFile string
	version    bool // --version was given
}

// Member is what concerns this member alone.
type Member struct {
	Name    string
	DataDir string
	// WALDir is where the raft log is; empty is in DataDir.
	WALDir string
	// Heartbeat and Election are raft's intervals: 5 * Heartbeat <= Election.
	Heartbeat, Election time.Duration
	// QuotaBytes is the limit on the store's size: zero is the mode's default,
	// less than zero is no limit.
	QuotaBytes int64
	// FlushCommands is the number of commands that a restart may have to replay;
	// zero is the store's default.
	FlushCommands uint64
	Compaction    Compaction
	Storage       Storage

	// As given, before they are checked.
	heartbeatMS, electionMS       uint64
	snapshotCount                 uint64
	compactionMode, compactionFor string
}

// Compaction is how much history is kept. At most one field is positive; none is
// all of it.
type Compaction struct {
	Period    time.Duration
	Revisions int64
}

// Storage is what concerns the store below: as etcd has it, zero is the default.
type Storage struct {
	// BatchRows is how much compacted history is removed at a time, Pause how long it
	// rests after that.
	BatchRows int64
	Pause     time.Duration
	// LowDiskBytes is the room on the disk below which there is an alarm; less than
	// zero is none.
	LowDiskBytes int64
	// NoSync leaves out the syncs of the raft log.
	NoSync bool

	defragMegabytes uint64
}

// Listen is where the member listens, and for whom.
type Listen struct {
	// Client serves gRPC, and HTTP unless HTTP has addresses of its own. Metrics
	// serves the metrics and the health checks, Peer the other members.
	Client, HTTP, Metrics, Peer URLs
	// Origins and Hosts are --cors and --host-whitelist.
	Origins, Hosts []string
	// Gateway serves JSON below /v3 where HTTP is served.
	Gateway bool
	// ReusePort lets other processes listen on the same ports.
	ReusePort bool
	// Pprof serves profiles where HTTP is served, Traces what gRPC has traced.
	Pprof, Traces bool
	// AdminSocket is the path of the socket where gRPC is served to whoever may open it,
	// as the member itself; empty is none, AdminSocketInData one in the data directory.
	AdminSocket string
}

// AdminSocketInData stands for a socket in the data directory.
const AdminSocketInData = "auto"

// Cluster says which cluster the member founds or joins, and how it is found.
type Cluster struct {
	AdvertisePeer, AdvertiseClient URLs
	// Initial is --initial-cluster: name=URL pairs. Learners are the names in it that have
	// no vote: the observers of a zoo.cfg.
	Initial  string
	Learners []string
	// Existing is set by --initial-cluster-state=existing.
	Existing bool
	// ForceNew has the member go on without the others (--force-new-cluster).
	ForceNew bool
	// Trust has the data directory say who the member is, whatever the rest describes.
	Trust   bool
	Token   string
	Members Members
	Raft    Raft
	Checks  Checks

	state string
}

// Members says how members come and go.
type Members struct {
	// MaxLearners is how many may learn at a time.
	MaxLearners int64
	// Strict refuses changes that would lose the quorum.
	Strict bool
	// Observer has this member serve while it has no vote.
	Observer bool
}

// Raft is how the members agree, and speak to each other.
type Raft struct {
	// CatchUpEntries are the entries of the log that are kept for members that are behind;
	// zero is the store's default.
	CatchUpEntries uint64
	// TransferRate is how many bytes of the state are sent in a second to members that need
	// it; zero is the store's default, negative is as many as can be.
	TransferRate int64
	// EarlyElection has a member that starts not wait for the election timeout.
	EarlyElection             bool
	ReadTimeout, WriteTimeout time.Duration
}

// Checks are how often members compare what they have: all of it, and the history that a
// compaction left. Zero is never.
type Checks struct{ Corrupt, CompactHash time.Duration }

// Requests bounds what clients may ask for.
type Requests struct {
	MaxTxnOps, MaxRequestBytes uint64
	MaxConcurrentStreams       uint32
	// The server pings a silent client after KeepAliveInterval and gives it
	// KeepAliveTimeout to answer; zero is never. A client that pings more often
	// than KeepAliveMinTime is cut off.
	KeepAliveMinTime, KeepAliveInterval, KeepAliveTimeout time.Duration
	// WatchProgress is the time between progress notifications; zero is the
	// default of the etcd front end.
	WatchProgress time.Duration
	// SlowApply and SlowRequest are the times from which a request is worth a line
	// in the log. Zero is any time for the first and 300 ms for the second, as with
	// etcd.
	SlowApply, SlowRequest time.Duration
}

// Auth says how users show who they are.
type Auth struct {
	// Token is --auth-token: "simple", or "jwt," and its options.
	Token      string
	TokenTTL   time.Duration
	BcryptCost int

	ttlSeconds, bcryptCost uint64
}

// Log says how the process logs.
type Log struct {
	Level slog.Level
	// Format is "json", "console" or "text".
	Format string
	// Outputs are "stderr", "stdout" or paths of files to append to.
	Outputs []string
	// Rotation is how files are rotated; nil if they are not.
	Rotation *Rotation

	level, logger string
	rotate        bool
	rotation      string
}

// Rotation says when a file of the log is put aside, and what becomes of it.
type Rotation struct {
	MaxSize    int  `json:"maxsize"`    // of a file, in MB; zero is 100
	MaxAge     int  `json:"maxage"`     // in days; zero is for ever
	MaxBackups int  `json:"maxbackups"` // files that are kept; zero is all
	LocalTime  bool `json:"localtime"`  // in the files' names, else UTC
	Compress   bool `json:"compress"`
}

// Note is a line for the log.
type Note struct {
	Level slog.Level
	Text  string
	Attrs []any // as for slog
}

func (c *Config) note(level slog.Level, text string, attrs ...any) {
	c.Notes = append(c.Notes, Note{level, text, attrs})
}

// UsageError is a mistake in what the operator wrote: the process exits with
// status 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e *UsageError) Unwrap() error { return e.Err }

package etcdfile

// The buckets of etcd.
const (
	bucketKey            = "key"
	bucketMeta           = "meta"
	bucketLease          = "lease"
	bucketAlarm          = "alarm"
	bucketCluster        = "cluster"
	bucketMembers        = "members"
	bucketMembersRemoved = "members_removed"
	bucketAuth           = "auth"
	bucketUsers          = "authUsers"
	bucketRoles          = "authRoles"
)

// ForeignPrefix begins the names of the buckets that are not etcd's.
const ForeignPrefix = "triglot"

// buckets are those that every file of etcd has.
var buckets = []string{
	bucketKey, bucketMeta, bucketLease, bucketAlarm, bucketCluster, bucketMembers,
	bucketMembersRemoved, bucketAuth, bucketUsers, bucketRoles,
}

// The rows of the buckets meta, cluster and auth.
const (
	metaConsistentIndex  = "consistent_index"
	metaTerm             = "term"
	metaConfState        = "confState"
	metaStorageVersion   = "storageVersion"
	metaScheduledCompact = "scheduledCompactRev"
	metaFinishedCompact  = "finishedCompactRev"
	clusterVersion       = "clusterVersion"
	clusterDowngrade     = "downgrade"
	authEnabled          = "authEnabled"
	authRevision         = "authRevision"
)

// Version is a row of the bucket key: a version of a key, or its end.
type Version struct {
	// Main is the revision that wrote it, Sub its place among the changes of that
	// revision, from 0.
	Main, Sub int64
	// Tombstone says that the key was deleted: of the rest, only Key means anything.
	Tombstone bool
	Key       []byte
	// CreateRev and Version are etcd's create_revision and version.
	CreateRev, Version int64
	Lease              int64
	Value              []byte
}

// Meta is the bucket meta.
type Meta struct {
	// Index and Term are those of the last raft entry that is in the file.
	Index, Term uint64
	ConfState   ConfState
	// StorageVersion is the version of etcd that can read the file, such as "3.7.0";
	// empty in files of etcd before 3.6.
	StorageVersion string
	// ScheduledCompact and FinishedCompact are the revisions of the last compaction
	// that was asked for, and carried out; zero if there was none.
	ScheduledCompact, FinishedCompact int64
}

// ConfState is who votes.
type ConfState struct {
	Voters   []uint64 `json:"voters,omitempty"`
	Learners []uint64 `json:"learners,omitempty"`
	// The others are of a change of members that is half done.
	VotersOutgoing []uint64 `json:"voters_outgoing,omitempty"`
	LearnersNext   []uint64 `json:"learners_next,omitempty"`
	AutoLeave      *bool    `json:"auto_leave,omitempty"`
}

// Lease is a row of the bucket lease. TTLs are in seconds; a RemainingTTL of zero
// means that no checkpoint was taken.
type Lease struct {
	ID, TTL, RemainingTTL int64
}

// Alarm is a row of the bucket alarm. Types are numbered as etcd's AlarmType.
type Alarm struct {
	Member uint64
	Type   int32
}

// Cluster is the bucket cluster. Version is empty if it has not been agreed on,
// Downgrade if none is under way.
type Cluster struct {
	Version   string
	Downgrade string
}

// Member is a row of the bucket members.
type Member struct {
	ID         uint64   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	IsLearner  bool     `json:"isLearner,omitempty"`
	Name       string   `json:"name,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// Auth is the bucket auth.
type Auth struct {
	Enabled  bool
	Revision uint64
}

// User is a row of the bucket authUsers. Password is bcrypt's hash.
type User struct {
	Name       string
	Password   []byte
	Roles      []string
	NoPassword bool
}

// Role is a row of the bucket authRoles.
type Role struct {
	Name        string
	Permissions []Permission
}

// Permission is a permission of a Role. Types are numbered as etcd's
// Permission.Type: 0 read, 1 write, 2 both.
type Permission struct {
	Type          int32
	Key, RangeEnd []byte
}

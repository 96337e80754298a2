package wire

// CreateMode is the flags of a create (ZooKeeper CreateMode).
type CreateMode int32

// The modes.
const (
	Persistent              CreateMode = 0
	Ephemeral               CreateMode = 1
	PersistentSequential    CreateMode = 2
	EphemeralSequential     CreateMode = 3
	Container               CreateMode = 4
	PersistentTTL           CreateMode = 5
	PersistentSequentialTTL CreateMode = 6
)

// Valid says whether there is such a mode.
func (m CreateMode) Valid() bool { return m >= Persistent && m <= PersistentSequentialTTL }

// Ephemeral says whether the znode goes with its session.
func (m CreateMode) Ephemeral() bool { return m == Ephemeral || m == EphemeralSequential }

// Sequential says whether a number is appended to the path.
func (m CreateMode) Sequential() bool {
	return m == PersistentSequential || m == EphemeralSequential || m == PersistentSequentialTTL
}

// TTL says whether the znode has a time to live.
func (m CreateMode) TTL() bool { return m == PersistentTTL || m == PersistentSequentialTTL }

// The permissions of an ACL (ZooKeeper ZooDefs.Perms).
const (
	PermRead   int32 = 1 << 0
	PermWrite  int32 = 1 << 1
	PermCreate int32 = 1 << 2
	PermDelete int32 = 1 << 3
	PermAdmin  int32 = 1 << 4
	PermAll          = PermRead | PermWrite | PermCreate | PermDelete | PermAdmin
)

// EventType is what happened to a znode (ZooKeeper Watcher.Event.EventType).
// Clients make up some more for themselves.
type EventType int32

// The types that a server sends.
const (
	EventNodeCreated         EventType = 1
	EventNodeDeleted         EventType = 2
	EventNodeDataChanged     EventType = 3
	EventNodeChildrenChanged EventType = 4
)

// KeeperState is how a session stands (ZooKeeper Watcher.Event.KeeperState).
type KeeperState int32

// The states. A server sends events with StateSyncConnected.
const (
	StateDisconnected      KeeperState = 0
	StateSyncConnected     KeeperState = 3
	StateAuthFailed        KeeperState = 4
	StateConnectedReadOnly KeeperState = 5
	StateSASLAuthenticated KeeperState = 6
	StateExpired           KeeperState = -112
)

// WatcherType says which watches checkWatches and removeWatches mean (ZooKeeper
// Watcher.WatcherType).
type WatcherType int32

// The types.
const (
	WatcherChildren            WatcherType = 1
	WatcherData                WatcherType = 2
	WatcherAny                 WatcherType = 3
	WatcherPersistent          WatcherType = 4
	WatcherPersistentRecursive WatcherType = 5
)

// Valid says whether there is such a type.
func (t WatcherType) Valid() bool { return t >= WatcherChildren && t <= WatcherPersistentRecursive }

// AddWatchMode says what addWatch adds (ZooKeeper AddWatchMode).
type AddWatchMode int32

// The modes.
const (
	AddPersistent          AddWatchMode = 0
	AddPersistentRecursive AddWatchMode = 1
)

// Valid says whether there is such a mode.
func (m AddWatchMode) Valid() bool { return m == AddPersistent || m == AddPersistentRecursive }

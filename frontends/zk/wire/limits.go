package wire

// What a server accepts, with ZooKeeper's defaults.
const (
	// MaxFrame is the largest body of a frame, in bytes (jute.maxbuffer). A frame
	// that claims more, or less than nothing, closes the connection unanswered.
	MaxFrame = 0xfffff
	// PasswordSize is the size of a session's password in bytes (ZooKeeper
	// SessionTracker). One that did not match is answered with as many zeros.
	PasswordSize = 16
	// MaxTTL is the longest time that a TTL znode may live unchanged, in
	// milliseconds (ZooKeeper EphemeralType: 40 bits).
	MaxTTL = 1<<40 - 1
)

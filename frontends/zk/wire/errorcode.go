package wire

import "strconv"

// ErrorCode is what a reply says of its request (ZooKeeper KeeperException.Code).
type ErrorCode int32

// The codes. OK is the only one with a body behind the header, a multi aside.
const (
	OK                       ErrorCode = 0
	SystemError              ErrorCode = -1
	RuntimeInconsistency     ErrorCode = -2
	DataInconsistency        ErrorCode = -3
	ConnectionLoss           ErrorCode = -4
	MarshallingError         ErrorCode = -5
	Unimplemented            ErrorCode = -6
	OperationTimeout         ErrorCode = -7
	BadArguments             ErrorCode = -8
	UnknownSession           ErrorCode = -12
	NewConfigNoQuorum        ErrorCode = -13
	ReconfigInProgress       ErrorCode = -14
	APIError                 ErrorCode = -100
	NoNode                   ErrorCode = -101
	NoAuth                   ErrorCode = -102
	BadVersion               ErrorCode = -103
	NoChildrenForEphemerals  ErrorCode = -108
	NodeExists               ErrorCode = -110
	NotEmpty                 ErrorCode = -111
	SessionExpired           ErrorCode = -112
	InvalidCallback          ErrorCode = -113
	InvalidACL               ErrorCode = -114
	AuthFailed               ErrorCode = -115
	SessionMoved             ErrorCode = -118
	NotReadOnly              ErrorCode = -119
	EphemeralOnLocalSession  ErrorCode = -120
	NoWatcher                ErrorCode = -121
	RequestTimeout           ErrorCode = -122
	ReconfigDisabled         ErrorCode = -123
	SessionClosedRequireSASL ErrorCode = -124
	QuotaExceeded            ErrorCode = -125
	ThrottledOp              ErrorCode = -127
)

var errorNames = map[ErrorCode]string{
	OK: "Ok", SystemError: "SystemError", RuntimeInconsistency: "RuntimeInconsistency",
	DataInconsistency: "DataInconsistency", ConnectionLoss: "ConnectionLoss",
	MarshallingError: "MarshallingError", Unimplemented: "Unimplemented",
	OperationTimeout: "OperationTimeout", BadArguments: "BadArguments", UnknownSession: "UnknownSession",
	NewConfigNoQuorum: "NewConfigNoQuorum", ReconfigInProgress: "ReconfigInProgress", APIError: "APIError",
	NoNode: "NoNode", NoAuth: "NoAuth", BadVersion: "BadVersion",
	NoChildrenForEphemerals: "NoChildrenForEphemerals", NodeExists: "NodeExists", NotEmpty: "NotEmpty",
	SessionExpired: "SessionExpired", InvalidCallback: "InvalidCallback", InvalidACL: "InvalidACL",
	AuthFailed: "AuthFailed", SessionMoved: "SessionMoved", NotReadOnly: "NotReadOnly",
	EphemeralOnLocalSession: "EphemeralOnLocalSession", NoWatcher: "NoWatcher",
	RequestTimeout: "RequestTimeout", ReconfigDisabled: "ReconfigDisabled",
	SessionClosedRequireSASL: "SessionClosedRequireSaslAuth", QuotaExceeded: "QuotaExceeded",
	ThrottledOp: "ThrottledOp",
}

// String is ZooKeeper's name of the code, its number if it has none.
func (c ErrorCode) String() string {
	if name, ok := errorNames[c]; ok {
		return name
	}
	return strconv.Itoa(int(c))
}

// Error lets a code be a client's error.
func (c ErrorCode) Error() string { return "zookeeper: " + c.String() }

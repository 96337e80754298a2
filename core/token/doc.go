// Package token is what proves to a member who a caller is: etcd's simple tokens and
// JSON Web Tokens (etcd T-81).
//
// A simple token is known to the members alone: the Table of each has the hashes of
// those that are good, told by the log of commands. A JWT proves itself. The package
// keeps no secret but a JWT's key, logs nothing, and has no clock but the one it is
// given. Who may do what is not its business (core/state/auth).
package token

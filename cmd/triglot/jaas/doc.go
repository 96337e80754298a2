// Package jaas reads who may log in by SASL, and with which password: from the login
// configuration that ZooKeeper's servers have (JAAS: java.security.auth.login.config),
// or from a YAML file of Triglot's own.
//
// It reads the grammar of Java's login files whole, so that a file which also serves
// other programs is taken as it is, and of the section that is asked for takes
// ZooKeeper's DigestLoginModule alone: every other module is refused by its name. An
// error names the file and the line, and never a password.
//
// The package owns nothing. It never keeps what it read, and never writes.
package jaas

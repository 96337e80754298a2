// Package config turns a command line, an environment and a YAML file into a
// Config that has been checked.
//
// It has two modes. Serve is Triglot's own: a flag wins over the environment, the
// environment over the file, and whatever is not understood is refused with the
// nearest name that would be. Etcd is for callers that were written for the etcd
// binary: a configuration file makes it ignore every other flag and variable, a
// variable that contradicts a flag is an error, unknown variables and keys of the
// file are tolerated.
//
// Every key of either mode is one row of the table of options: its name, its
// defaults, where its value goes, and whether Triglot honours it, has no use for
// it, or refuses it because to ignore it would do harm.
//
// The package owns no state, starts nothing and logs nothing: what deserves a
// line in the log is returned as a Note. It reads one file, the configuration.
package config

// Package commandpb is the schema of the replicated command and the code that
// protoc and vtprotobuf generate from it (`make generate`). It holds nothing
// written by hand but this comment; core/command is the only one to import it.
package commandpb

// Command protodeps writes to its standard output, as a FileDescriptorSet, the schemas
// that those of etcd's Lock and Election services import: etcd's own and Google's
// annotations, of the versions in go.mod. protoc takes it with --descriptor_set_in, so
// that no copy of those files is kept here. It owns nothing and serves no request.
package main

import (
	"log"
	"os"

	_ "go.etcd.io/etcd/api/v3/etcdserverpb" // registers what is written
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// imported has the names under which etcd's schemas import each other, by those under
// which its Go code registers them.
var imported = map[string]string{
	"kv.proto":      "etcd/api/mvccpb/kv.proto",
	"auth.proto":    "etcd/api/authpb/auth.proto",
	"version.proto": "etcd/api/versionpb/version.proto",
	"rpc.proto":     "etcd/api/etcdserverpb/rpc.proto",
}

func main() {
	var set descriptorpb.FileDescriptorSet
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		schema := protodesc.ToFileDescriptorProto(file)
		if name, ok := imported[file.Path()]; ok {
			schema.Name = &name
		}
		set.File = append(set.File, schema)
		return true
	})
	b, err := proto.Marshal(&set)
	if err == nil {
		_, err = os.Stdout.Write(b)
	}
	if err != nil {
		log.Fatal(err)
	}
}

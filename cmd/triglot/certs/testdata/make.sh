#!/bin/sh
# Makes the stores of the tests here, with Java's keytool and openssl: an authority, a
# server and a client, for a hundred years. All passwords are "password", and that of
# umlaut.jks is "pässword".
set -eu
cd "$(dirname "$0")"
rm -f -- *.jks *.p12 *.pem
store() { keytool -storepass password -noprompt "$@" 2>/dev/null; }
pair="-genkeypair -keyalg EC -groupname secp256r1 -validity 36500"
store $pair -alias ca -dname CN=authority -ext bc:c -keystore ca.tmp -storetype PKCS12
store -exportcert -rfc -alias ca -keystore ca.tmp >ca.pem
issue() { # file, subject
	store $pair -alias key -dname "$2" -keystore "$1.p12" -storetype PKCS12
	store -certreq -alias key -keystore "$1.p12" |
		store -gencert -rfc -alias ca -keystore ca.tmp -validity 36500 -ext san=dns:localhost,ip:127.0.0.1 >crt.tmp
	cat crt.tmp ca.pem >chain.tmp
	store -importcert -alias ca -file ca.pem -keystore "$1.p12"
	store -importcert -alias key -file chain.tmp -keystore "$1.p12"
}
issue server "CN=server,O=Triglot"
issue client "CN=client,OU=a+L=b,O=Tri\\,glot"
store -importkeystore -srckeystore server.p12 -srcstorepass password -destkeystore server.jks -deststoretype JKS -deststorepass password
store -importkeystore -srckeystore server.p12 -srcstorepass password -srcalias key -destalias key -srckeypass password \
	-destkeystore otherkey.jks -deststoretype JKS -deststorepass password -destkeypass another
cp server.p12 actually12.jks
store $pair -alias old -dname CN=old -keystore two.jks -storetype JKS -keypass password
store -importkeystore -srckeystore server.p12 -srcstorepass password -srcalias key -destkeystore two.jks -deststoretype JKS -deststorepass password
store -importcert -alias ca -file ca.pem -keystore trust.jks -storetype JKS
store -importcert -alias ca -file ca.pem -keystore trust.p12 -storetype PKCS12
keytool -importcert -noprompt -alias ca -file ca.pem -keystore umlaut.jks -storetype JKS -storepass "pässword" 2>/dev/null
store $pair -alias jce -dname CN=jce -keystore other.jks -storetype JCEKS -keypass password
openssl pkcs12 -in server.p12 -passin pass:password -nodes -nocerts 2>/dev/null | openssl pkcs8 -topk8 -nocrypt -out key.tmp
openssl pkcs12 -in server.p12 -passin pass:password -nokeys -out crt.tmp 2>/dev/null
cat crt.tmp key.tmp >server.pem
openssl ec -in key.tmp 2>/dev/null >ec.tmp
cat crt.tmp ec.tmp >sec1.pem
sealed() { # file, arguments of openssl
	file=$1
	shift
	openssl pkcs8 -topk8 -in key.tmp -passout pass:password "$@" >sealed.tmp
	cat sealed.tmp crt.tmp >"$file"
}
sealed aes256.pem -v2 aes-256-cbc -v2prf hmacWithSHA256
sealed aes128.pem -v2 aes-128-cbc -v2prf hmacWithSHA1
sealed aes192.pem -v2 aes-192-cbc -v2prf hmacWithSHA512
sealed des3.pem -v2 des3
sealed v1des3.pem -v1 PBE-SHA1-3DES
sealed v1des.pem -v1 PBE-MD5-DES -provider legacy -provider default
rm -f -- *.tmp

/*
 * A security key without a device, for OpenSSH's client: a library for `SecurityKeyProvider` (PROTOCOL.u2f, sk-api.h of
 * OpenSSH 8.9 and newer). The key handle is the private key, so nothing is kept. Signatures are those of a token that was
 * touched.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#define VERSION 0x000a0000
#define TOUCHED 0x01
#define ECDSA 0x00
#define ED25519 0x01
#define FAILED -1

struct enrolled {
	uint8_t flags;
	uint8_t *public_key;
	size_t public_key_len;
	uint8_t *key_handle;
	size_t key_handle_len;
	uint8_t *signature;
	size_t signature_len;
	uint8_t *attestation_cert;
	size_t attestation_cert_len;
	uint8_t *authdata;
	size_t authdata_len;
};

struct signed_with {
	uint8_t flags;
	uint32_t counter;
	uint8_t *sig_r;
	size_t sig_r_len;
	uint8_t *sig_s;
	size_t sig_s_len;
};

struct option {
	char *name;
	char *value;
	uint8_t required;
};

uint32_t sk_api_version(void)
{
	return VERSION;
}

static EVP_PKEY *make(uint32_t alg)
{
	return alg == ED25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
}

/* 32 bytes of Ed25519, or an uncompressed point. */
static int public_of(uint32_t alg, EVP_PKEY *key, uint8_t **out, size_t *length)
{
	if (alg == ECDSA) {
		unsigned char *point = NULL;
		*length = EVP_PKEY_get1_encoded_public_key(key, &point);
		*out = point;
		return *length > 0;
	}
	*length = 32;
	*out = calloc(1, 32);
	return *out && EVP_PKEY_get_raw_public_key(key, *out, length) == 1;
}

int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application, uint8_t flags,
	const char *pin, struct option **options, struct enrolled **out)
{
	struct enrolled *made = calloc(1, sizeof(*made));
	EVP_PKEY *key = made ? make(alg) : NULL;
	unsigned char *handle = NULL;
	int length = key ? i2d_PrivateKey(key, &handle) : -1;

	(void)challenge, (void)challenge_len, (void)application, (void)pin, (void)options;
	if (length <= 0 || !public_of(alg, key, &made->public_key, &made->public_key_len))
		return FAILED;
	made->flags = flags;
	made->key_handle = handle;
	made->key_handle_len = (size_t)length;
	made->signature = calloc(1, 1);
	made->attestation_cert = calloc(1, 1);
	made->authdata = calloc(1, 1);
	EVP_PKEY_free(key);
	*out = made;
	return 0;
}

static int copied(const BIGNUM *number, uint8_t **out, size_t *length)
{
	*length = (size_t)BN_num_bytes(number);
	*out = calloc(1, *length + 1);
	return *out && BN_bn2bin(number, *out) == (int)*length;
}

static int sign(uint32_t alg, EVP_PKEY *key, const uint8_t *what, size_t length, struct signed_with *made)
{
	uint8_t signature[256];
	size_t signature_len = sizeof(signature);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	const unsigned char *at = signature;
	ECDSA_SIG *parts;

	if (EVP_DigestSignInit(context, NULL, alg == ECDSA ? EVP_sha256() : NULL, NULL, key) != 1
		|| EVP_DigestSign(context, signature, &signature_len, what, length) != 1)
		return 0;
	EVP_MD_CTX_free(context);
	if (alg == ED25519) {
		made->sig_r = calloc(1, signature_len);
		made->sig_r_len = signature_len;
		return made->sig_r && memcpy(made->sig_r, signature, signature_len) != NULL;
	}
	parts = d2i_ECDSA_SIG(NULL, &at, (long)signature_len);
	return parts && copied(ECDSA_SIG_get0_r(parts), &made->sig_r, &made->sig_r_len)
		&& copied(ECDSA_SIG_get0_s(parts), &made->sig_s, &made->sig_s_len);
}

/* What a token signs: SHA-256 of the application, flags, counter, SHA-256 of the message. */
int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application, const uint8_t *key_handle,
	size_t key_handle_len, uint8_t flags, const char *pin, struct option **options, struct signed_with **out)
{
	struct signed_with *made = calloc(1, sizeof(*made));
	const unsigned char *at = key_handle;
	EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)key_handle_len);
	uint8_t what[32 + 1 + 4 + 32];

	(void)pin, (void)options;
	if (!made || !key)
		return FAILED;
	made->flags = flags | TOUCHED;
	made->counter = 0x12345678;
	SHA256((const uint8_t *)application, strlen(application), what);
	what[32] = made->flags;
	memcpy(what + 33, "\x12\x34\x56\x78", 4);
	SHA256(data, data_len, what + 37);
	if (!sign(alg, key, what, sizeof(what), made))
		return FAILED;
	EVP_PKEY_free(key);
	*out = made;
	return 0;
}

int sk_load_resident_keys(const char *pin, struct option **options, void ***keys, size_t *count)
{
	(void)pin, (void)options, (void)keys;
	*count = 0;
	return 0;
}

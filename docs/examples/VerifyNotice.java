import java.io.IOException;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Is a notice from Dongui, unchanged, and not an old one played again? Java 17 or newer, nothing but the JDK.
 *
 * <pre>
 * NOTICE_PUBLIC_KEY=whpk_... java VerifyNotice.java WEBHOOK_ID WEBHOOK_TIMESTAMP WEBHOOK_SIGNATURE &lt; body
 * NOTICE_SECRET=whsec_...    java VerifyNotice.java WEBHOOK_ID WEBHOOK_TIMESTAMP WEBHOOK_SIGNATURE &lt; body
 * </pre>
 *
 * prints "verified" and exits 0, or "refused" and exits 1. In a server call {@link #verified} with the raw body, BEFORE
 * parsing it.
 */
public final class VerifyNotice {
    static final long TOLERANCE_S = 300;
    /** What stands before the 32 bytes of an ed25519 key in X.509 (RFC 8410). */
    static final byte[] X509 = HexFormat.of().parseHex("302a300506032b6570032100");

    /** One good signature is enough: while a key is replaced, several stand in the header. */
    static boolean verified(
            byte[] body, String id, String timestamp, String signatures, String publicKey, String secret, long now)
            throws GeneralSecurityException {
        if (!timestamp.matches("[0-9]{1,12}") || Math.abs(now - Long.parseLong(timestamp)) > TOLERANCE_S) {
            return false;
        }
        byte[] signed = join((id + "." + timestamp + ".").getBytes(java.nio.charset.StandardCharsets.UTF_8), body);
        for (String one : signatures.split(" ")) {
            try {
                if (publicKey != null && one.startsWith("v1a,") && ed25519(publicKey, signed, raw(one, "v1a,"))) {
                    return true;
                }
                if (secret != null && one.startsWith("v1,") && hmac(secret, signed, raw(one, "v1,"))) {
                    return true;
                }
            } catch (IllegalArgumentException | java.security.SignatureException notASignature) {
                continue;
            }
        }
        return false;
    }

    static boolean ed25519(String publicKey, byte[] signed, byte[] signature) throws GeneralSecurityException {
        byte[] encoded = join(X509, raw(publicKey, "whpk_"));
        PublicKey key = KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(encoded));
        Signature verifier = Signature.getInstance("Ed25519");
        verifier.initVerify(key);
        verifier.update(signed);
        return verifier.verify(signature);
    }

    static boolean hmac(String secret, byte[] signed, byte[] signature) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(raw(secret, "whsec_"), "HmacSHA256"));
        return MessageDigest.isEqual(mac.doFinal(signed), signature); // takes the same time whatever differs
    }

    static byte[] raw(String text, String prefix) {
        return Base64.getDecoder().decode(text.strip().substring(prefix.length()));
    }

    static byte[] join(byte[] first, byte[] second) {
        byte[] both = java.util.Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, both, first.length, second.length);
        return both;
    }

    public static void main(String[] args) throws GeneralSecurityException, IOException {
        String publicKey = System.getenv("NOTICE_PUBLIC_KEY");
        String secret = System.getenv("NOTICE_SECRET");
        byte[] body = System.in.readAllBytes();
        long now = System.currentTimeMillis() / 1000;
        boolean good = args.length == 3 && verified(body, args[0], args[1], args[2], publicKey, secret, now);
        System.out.println(good ? "verified" : "refused");
        System.exit(good ? 0 : 1);
    }
}

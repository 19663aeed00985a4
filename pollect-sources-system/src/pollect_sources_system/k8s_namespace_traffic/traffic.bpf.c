// Counts the packets of every socket on the node, by cgroup, local address and remote network.
//
// Two programs of type BPF_PROG_TYPE_CGROUP_SKB, attached to the root of the cgroup v2 hierarchy:
// they see each packet of each network namespace once, where it leaves or reaches a socket, and
// always let it pass. Layouts of maps and keys are shared with bpf.py and counters.py.
//
// Header-free on purpose: clang alone builds it, see `make bpf`.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// The used fields of the kernel's struct __sk_buff (uapi/linux/bpf.h), at their offsets.
struct __sk_buff {
	u32 len;
	u32 skipped1[3];
	u32 protocol;        // offset 16, network order
	u32 skipped2[18];
	u32 remote_ip4;      // offset 92, of the socket, network order; 0 if not connected
	u32 skipped3;
	u32 remote_ip6[4];   // offset 100
};

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*skb_load_bytes)(const void *skb, u32 offset, void *to, u32 length) = (void *)26;
static u64 (*skb_cgroup_id)(void *skb) = (void *)79;

#define NOEXIST 1
#define ANY 0

// Symbols only: the loader puts the descriptor of the map of this name wherever one is used.
extern u8 nets4, nets6, traffic, lost, options, flows;

#define OPTION_FLOWS 1

struct prefix4 { u32 length; u8 address[4]; };
struct prefix6 { u32 length; u8 address[16]; };

struct traffic_key {
	u64 cgroup;
	u8 local[16];
	u32 network;
	u8 family;
	u8 sent;
	u8 to_itself;
	u8 zero;
};

struct traffic_value { u64 bytes, payload, packets; };

struct flow_key {
	u8 local[16];
	u8 remote[16];
	u32 network;
	u8 family;
	u8 sent;
	u8 zero[2];
};

#define ETHERTYPE_IPV4 0x0008  // network order, as a little-endian host reads it
#define ETHERTYPE_IPV6 0xdd86
#define TCP 6
#define UDP 17
#define UDP_HEADER 8
#define HOP_BY_HOP 0
#define ROUTING 43
#define FRAGMENT 44
#define DESTINATION_OPTIONS 60
#define EXTENSION_HEADERS 4

#define inline static __attribute__((always_inline))

inline void copy4(u8 *to, const u8 *from) { __builtin_memcpy(to, from, 4); }
inline void copy16(u8 *to, const u8 *from) { __builtin_memcpy(to, from, 16); }

// Bytes of a TCP segment or UDP datagram behind its header; 0 for other protocols.
inline u32 payload_of(struct __sk_buff *skb, u8 protocol, u32 offset, int later_fragment)
{
	u8 data_offset;
	u32 header;

	if (protocol != TCP && protocol != UDP)
		return 0;
	if (later_fragment) {
		header = 0;
	} else if (protocol == UDP) {
		header = UDP_HEADER;
	} else {
		if (skb_load_bytes(skb, offset + 12, &data_offset, 1))
			return 0;
		header = (data_offset >> 4) * 4;
	}
	return skb->len > offset + header ? skb->len - offset - header : 0;
}

inline void count_bytes(struct traffic_key *key, u32 bytes, u32 payload)
{
	struct traffic_value none = {};
	struct traffic_value *value = map_lookup(&traffic, key);
	u32 first = 0;

	if (!value) {
		map_update(&traffic, key, &none, NOEXIST);
		value = map_lookup(&traffic, key);
	}
	if (value) {
		__sync_fetch_and_add(&value->bytes, bytes);
		__sync_fetch_and_add(&value->payload, payload);
		__sync_fetch_and_add(&value->packets, 1);
		return;
	}
	u64 *missed = map_lookup(&lost, &first);
	if (missed)
		__sync_fetch_and_add(missed, bytes);
}

inline void note_flow(struct traffic_key *key, const u8 *remote, u32 bytes)
{
	struct flow_key flow = {};
	u32 first = 0;
	u32 *wanted = map_lookup(&options, &first);
	u64 start = 0;

	if (!wanted || !(*wanted & OPTION_FLOWS))
		return;
	copy16(flow.local, key->local);
	copy16(flow.remote, remote);
	flow.network = key->network;
	flow.family = key->family;
	flow.sent = key->sent;
	u64 *seen = map_lookup(&flows, &flow);
	if (!seen) {
		map_update(&flows, &flow, &start, NOEXIST);
		seen = map_lookup(&flows, &flow);
	}
	if (seen)
		__sync_fetch_and_add(seen, bytes);
}

inline void count4(struct __sk_buff *skb, u8 sent)
{
	struct traffic_key key = {};
	struct prefix4 prefix = { .length = 32 };
	u8 remote[16] = {};
	u8 header[20];
	u32 socket_remote = skb->remote_ip4;

	if (skb_load_bytes(skb, 0, header, sizeof(header)))
		return;
	const u8 *source = header + 12, *destination = header + 16;
	copy4(key.local, sent ? source : destination);
	copy4(remote, sent ? destination : source);
	key.to_itself = *(u32 *)key.local == *(u32 *)remote;
	// For host processes the header shows one direction after address translation and the other
	// before; the socket's own view agrees with itself.
	if (socket_remote)
		*(u32 *)remote = socket_remote;
	copy4(prefix.address, remote);
	u32 *network = map_lookup(&nets4, &prefix);
	key.network = network ? *network : 0;
	key.cgroup = skb_cgroup_id(skb);
	key.family = 4;
	key.sent = sent;

	u32 header_length = (header[0] & 15) * 4;
	int later_fragment = (header[6] & 0x1f) | header[7];
	count_bytes(&key, skb->len, payload_of(skb, header[9], header_length, later_fragment));
	note_flow(&key, remote, skb->len);
}

inline void count6(struct __sk_buff *skb, u8 sent)
{
	struct traffic_key key = {};
	struct prefix6 prefix = { .length = 128 };
	u8 header[40], remote[16], extension[8];
	u32 socket_remote[4] = {
		skb->remote_ip6[0], skb->remote_ip6[1], skb->remote_ip6[2], skb->remote_ip6[3],
	};

	if (skb_load_bytes(skb, 0, header, sizeof(header)))
		return;
	const u8 *source = header + 8, *destination = header + 24;
	copy16(key.local, sent ? source : destination);
	copy16(remote, sent ? destination : source);
	u64 *a = (u64 *)key.local, *b = (u64 *)remote;
	key.to_itself = a[0] == b[0] && a[1] == b[1];
	if (socket_remote[0] | socket_remote[1] | socket_remote[2] | socket_remote[3])
		copy16(remote, (u8 *)socket_remote);
	copy16(prefix.address, remote);
	u32 *network = map_lookup(&nets6, &prefix);
	key.network = network ? *network : 0;
	key.cgroup = skb_cgroup_id(skb);
	key.family = 6;
	key.sent = sent;

	u8 protocol = header[6];
	u32 offset = sizeof(header);
	int later_fragment = 0;
#pragma unroll
	for (int i = 0; i < EXTENSION_HEADERS; i++) {
		if (protocol != HOP_BY_HOP && protocol != ROUTING && protocol != DESTINATION_OPTIONS &&
		    protocol != FRAGMENT)
			break;
		if (skb_load_bytes(skb, offset, extension, sizeof(extension)))
			break;
		if (protocol == FRAGMENT) {
			later_fragment = extension[2] | (extension[3] & 0xf8);
			offset += sizeof(extension);
		} else {
			offset += (extension[1] + 1) * 8;
		}
		protocol = extension[0];
		if (later_fragment)
			break;
	}
	count_bytes(&key, skb->len, payload_of(skb, protocol, offset, later_fragment));
	note_flow(&key, remote, skb->len);
}

inline int count(struct __sk_buff *skb, u8 sent)
{
	if (skb->protocol == ETHERTYPE_IPV4)
		count4(skb, sent);
	else if (skb->protocol == ETHERTYPE_IPV6)
		count6(skb, sent);
	return 1;
}

__attribute__((section("ingress"))) int count_ingress(struct __sk_buff *skb) { return count(skb, 0); }

__attribute__((section("egress"))) int count_egress(struct __sk_buff *skb) { return count(skb, 1); }

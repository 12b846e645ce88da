// What the servers' own functions do beyond returning a value, by name; lists from their manuals and help tables.
// It knows names only. A name that is in no list is a stored or loadable function, or from a newer server: the primary.

import type { PinReason } from '../statement.js';

const words = (text: string) => text.trim().split(/\s+/);

/** `last`: reads what the last statement left; `pin`: leaves something in the connection; `primary`: must run there. */
export type FunctionEffect =
  | { kind: 'last' }
  | { kind: 'pin'; pin: PinReason; reason: string }
  | { kind: 'primary'; reason: string };

const effects = new Map<string, FunctionEffect>();
const put = (effect: FunctionEffect, names: string) => {
  for (const name of words(names)) effects.set(name, effect);
};
put({ kind: 'last' }, 'last_insert_id found_rows row_count');
put(
  { kind: 'pin', pin: 'session-lock', reason: 'holds a lock of the session' },
  `get_lock release_all_locks service_get_read_locks service_get_write_locks service_release_locks
   version_tokens_lock_shared version_tokens_lock_exclusive version_tokens_unlock`,
);
put(
  { kind: 'primary', reason: 'asks about locks of the primary' },
  'release_lock is_free_lock is_used_lock version_tokens_set version_tokens_show version_tokens_edit version_tokens_delete',
);
put({ kind: 'primary', reason: 'uses a sequence' }, 'nextval setval lastval currval');
put({ kind: 'primary', reason: 'reads a file of the server' }, 'load_file');
put({ kind: 'primary', reason: 'is unique within one server only' }, 'uuid_short');
put(
  { kind: 'primary', reason: 'waits for or asks about replication' },
  `master_pos_wait source_pos_wait master_gtid_wait wait_for_executed_gtid_set
   wait_until_sql_thread_after_gtids binlog_gtid_pos wsrep_last_written_gtid wsrep_last_seen_gtid
   wsrep_sync_wait_upto_gtid`,
);
put(
  { kind: 'primary', reason: 'asks about one connection or server' },
  'connection_id ps_current_thread_id ps_thread_id',
);

/** What a function of the server does that matters for routing, or null. */
export function functionEffect(name: string): FunctionEffect | null {
  return effects.get(name) ?? null;
}

const common = words(`
  abs acos adddate addtime aes_decrypt aes_encrypt ascii asin atan atan2 avg benchmark bin bit_and bit_count
  bit_length bit_or bit_xor cast ceil ceiling char char_length character_length charset coalesce coercibility
  collation compress concat concat_ws conv convert convert_tz cos cot count crc32 cume_dist curdate current_date
  current_role current_time current_timestamp current_user curtime database date date_add date_format date_sub
  datediff day dayname dayofmonth dayofweek dayofyear default degrees dense_rank elt
  exp export_set extract extractvalue field find_in_set first_value floor format from_base64 from_days
  from_unixtime get_format greatest group_concat hex hour if ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa insert
  instr interval is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 isnull json_array json_array_append json_array_insert
  json_arrayagg json_contains json_contains_path json_depth json_extract json_insert json_keys json_length json_merge
  json_merge_patch json_merge_preserve json_object json_objectagg json_overlaps json_pretty json_quote json_remove
  json_replace json_search json_set json_table json_type json_unquote json_valid json_value lag
  last_day last_value lcase lead least left length ln localtime localtimestamp locate log log10 log2 lower lpad ltrim
  make_set makedate maketime max mbrcontains mbrdisjoint mbrequals mbrintersects mbroverlaps mbrtouches mbrwithin md5
  microsecond mid min minute mod month monthname name_const now nth_value ntile nullif oct octet_length
  ord password percent_rank period_add period_diff pi position pow power quarter quote radians rand random_bytes rank
  regexp_instr regexp_replace regexp_substr repeat replace reverse right round row row_number rpad rtrim schema
  sec_to_time second session_user sha sha1 sha2 sign sin sleep soundex space sqrt std stddev stddev_pop stddev_samp
  str_to_date strcmp subdate substr substring substring_index subtime sum sysdate system_user tan time time_format
  time_to_sec timediff timestamp timestampadd timestampdiff to_base64 to_days to_seconds trim truncate ucase
  uncompress uncompressed_length unhex unix_timestamp updatexml upper user utc_date utc_time utc_timestamp uuid
  values var_pop var_samp variance version week weekday weekofyear weight_string year
  yearweek
  geometrycollection linestring multilinestring multipoint multipolygon point polygon
  st_area st_asbinary st_asgeojson st_astext st_aswkb st_aswkt st_buffer st_centroid st_contains st_convexhull
  st_crosses st_difference st_dimension st_disjoint st_distance st_distance_sphere st_endpoint st_envelope st_equals
  st_exteriorring st_geomcollfromtext st_geomcollfromwkb st_geometrycollectionfromtext
  st_geometrycollectionfromwkb st_geometryfromtext st_geometryfromwkb st_geometryn st_geometrytype
  st_geomfromgeojson st_geomfromtext st_geomfromwkb st_interiorringn st_intersection st_intersects st_isclosed
  st_isempty st_issimple st_length st_linefromtext st_linefromwkb st_linestringfromtext
  st_linestringfromwkb st_mlinefromtext st_mlinefromwkb st_mpointfromtext st_mpointfromwkb st_mpolyfromtext
  st_mpolyfromwkb st_multilinestringfromtext st_multilinestringfromwkb st_multipointfromtext
  st_multipointfromwkb st_multipolygonfromtext st_multipolygonfromwkb st_numgeometries st_numinteriorrings
  st_numpoints st_overlaps st_pointfromtext st_pointfromwkb st_pointn st_polyfromtext st_polyfromwkb
  st_polygonfromtext st_polygonfromwkb st_srid st_startpoint st_symdifference st_touches st_union
  st_within st_x st_y`);

const mysqlOnly = words(`
  any_value bin_to_uuid geomcollection validate_password_strength uuid_to_bin is_uuid format_bytes format_pico_time grouping gtid_subset gtid_subtract
  icu_version json_schema_valid json_schema_validation_report json_storage_free json_storage_size mbrcoveredby mbrcovers regexp_like
  roles_graphml st_buffer_strategy st_frechetdistance st_hausdorffdistance st_latitude st_lineinterpolatepoint
  st_lineinterpolatepoints st_longitude st_makeenvelope st_pointatdistance st_swapxy st_transform st_collect st_isvalid
  st_validate st_geohash st_latfromgeohash st_longfromgeohash st_pointfromgeohash st_simplify
  statement_digest statement_digest_text can_access_column can_access_database can_access_table can_access_user can_access_view
  get_dd_column_privileges get_dd_create_options get_dd_index_sub_part_length internal_auto_increment
  internal_avg_row_length internal_check_time internal_checksum internal_data_free internal_data_length
  internal_dd_char_length internal_get_comment_or_error internal_get_enabled_role_json internal_get_hostname
  internal_get_username internal_get_view_warning_or_error internal_index_column_cardinality
  internal_index_length internal_is_enabled_role internal_is_mandatory_role internal_keys_disabled
  internal_max_data_length internal_table_rows internal_update_time is_visible_dd_object`);

const mariadbOnly = words(`
  add_months chr column_add column_check column_create column_delete column_exists column_get column_json column_list
  crc32c decode_histogram decode_oracle concat_operator_oracle decode des_decrypt des_encrypt encode encrypt old_password
  json_compact json_detailed json_equals json_exists
  json_loose json_normalize json_query lengthb lpad_oracle ltrim_oracle median natural_sort_key nvl
  nvl2 percentile_cont percentile_disc replace_oracle rownum rpad_oracle rtrim_oracle schemas sformat
  substr_oracle sys_guid to_char trim_oracle
  area asbinary astext aswkb aswkt buffer centroid contains convexhull crosses dimension disjoint endpoint envelope
  equals exteriorring geomcollfromtext geomcollfromwkb geometrycollectionfromtext geometrycollectionfromwkb
  geometryfromtext geometryfromwkb geometryn geometrytype geomfromtext geomfromwkb glength interiorringn intersects
  isclosed isempty isring issimple linefromtext linefromwkb linestringfromtext linestringfromwkb mlinefromtext
  mlinefromwkb mpointfromtext mpointfromwkb mpolyfromtext mpolyfromwkb multilinestringfromtext
  multilinestringfromwkb multipointfromtext multipointfromwkb multipolygonfromtext multipolygonfromwkb
  numgeometries numinteriorrings numpoints overlaps pointfromtext pointfromwkb pointn pointonsurface polyfromtext
  polyfromwkb polygonfromtext polygonfromwkb srid startpoint st_boundary st_isring
  st_pointonsurface st_relate touches within x y`);

/** Since these versions; before, the names are free for stored functions. */
const recent = {
  mysql: {
    since: 90_000,
    names: new Set(words('string_to_vector to_vector vector_dim vector_to_string from_vector')),
  },
  mariadb: {
    since: 120_000,
    names: new Set(
      words(`
        json_schema_valid json_array_intersect json_object_filter_keys json_object_to_array json_key_value kdf
        format_pico_time uuid_v4 uuid_v7 vec_distance vec_distance_euclidean vec_distance_cosine vec_fromtext vec_totext
        st_collect st_isvalid st_validate st_geohash st_latfromgeohash st_longfromgeohash st_pointfromgeohash
        st_simplify`),
    ),
  },
};

const harmless = {
  mysql: new Set([...common, ...mysqlOnly]),
  mariadb: new Set([...common, ...mariadbOnly]),
};

/** Functions of the server that only compute a value (SLEEP, RAND, UUID and NOW among them). */
export function isHarmless(name: string, flavour: 'mysql' | 'mariadb', versionNumber: number): boolean {
  if (harmless[flavour].has(name)) return true;
  return versionNumber >= recent[flavour].since && recent[flavour].names.has(name);
}

/** Reserved words before a bracket that is no argument list: no function can have such a name without quotes. */
const reserved = new Set(
  words(`
    all and as asc between bigint binary blob by case char character collate cross dec decimal desc distinct
    distinctrow div double else except exists float for from group having high_priority ignore in index inner int integer interval
    intersect is join key left like limit longblob longtext match mediumblob mediumint mediumtext mod natural not
    null numeric on or order outer over partition primary real regexp right rlike row select set smallint sql_big_result sql_calc_found_rows
    sql_small_result
    straight_join table then tinyblob tinyint tinytext to union unique unsigned use using values varbinary varchar
    when where window with xor`),
);

export function opensBracket(word: string, flavour: 'mysql' | 'mariadb'): boolean {
  // In MariaDB these two are free for functions.
  return reserved.has(word) || (flavour === 'mysql' && (word === 'lateral' || word === 'of'));
}

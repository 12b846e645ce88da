// What is known of functions by name, before and beside the catalog: which pin, which must see the primary, which are
// harmless although volatile, and which built-in ones may be trusted while there is no catalog. Data only.

import type { PinReason } from '../statement.js';

/** Functions that leave something in the session that cannot be replayed; all of them run on the primary. */
export const pinningFunctions: ReadonlyMap<string, PinReason> = new Map<string, PinReason>([
  ['pg_advisory_lock', 'session-lock'],
  ['pg_advisory_lock_shared', 'session-lock'],
  ['pg_try_advisory_lock', 'session-lock'],
  ['pg_try_advisory_lock_shared', 'session-lock'],
  ['currval', 'sequence-state'],
  ['lastval', 'sequence-state'],
  ['setseed', 'untracked-setting'],
  ['set_config', 'set-config'],
  ['pg_export_snapshot', 'exported-snapshot'],
  // pg_trgm's: it sets a setting.
  ['set_limit', 'untracked-setting'],
  ['dblink_connect', 'untracked-setting'],
  ['dblink_connect_u', 'untracked-setting'],
  ['dblink_open', 'untracked-setting'],
  ['pg_replication_origin_session_setup', 'untracked-setting'],
  ['lo_open', 'untracked-setting'],
]);

const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/).filter((name) => name !== ''));

/** Of the functions for the primary those that only tell how their node is, of PostgreSQL and of extensions written in C. */
export const nodeFunctions: ReadonlySet<string> = words(`
  pg_is_in_recovery pg_backend_pid pg_postmaster_start_time pg_conf_load_time pg_config
  inet_server_addr inet_server_port inet_client_addr inet_client_port
  pg_show_all_settings pg_show_all_file_settings pg_hba_file_rules pg_ident_file_mappings
  pg_get_replication_slots pg_lock_status pg_blocking_pids pg_safe_snapshot_blocking_pids
  pg_stat_file pg_stat_statements pg_stat_statements_info
  pg_is_wal_replay_paused pg_get_wal_replay_pause_state pg_current_logfile
  pg_get_shmem_allocations pg_get_shmem_allocations_numa pg_get_backend_memory_contexts pg_get_aios
  pg_prepared_xact pg_show_replication_origin_status`);

export const nodeFunctionPrefixes: readonly string[] = [
  'pg_stat_get_',
  'pg_last_',
  'pg_control_',
  'pg_ls_',
  'pg_read_',
];

/**
 * Not volatile to PostgreSQL (or accepted by a standby with another meaning), and yet for the primary: they assign a
 * transaction id, answer about one node, one connection or this very transaction, or run what a string names (a view
 * may write, whatever the function is declared).
 */
export const primaryFunctions: ReadonlySet<string> = new Set([
  ...nodeFunctions,
  ...words(`
  txid_current pg_current_xact_id txid_current_if_assigned pg_current_xact_id_if_assigned pg_current_snapshot
  txid_current_snapshot txid_status pg_xact_status pg_cancel_backend pg_terminate_backend pg_reload_conf
  pg_rotate_logfile pg_promote pg_notify pg_my_temp_schema pg_is_other_temp_schema pg_listening_channels pg_cursor
  pg_prepared_statement pg_replication_origin_oid pg_walfile_name pg_walfile_name_offset pg_split_walfile_name
  query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema table_to_xml
  table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema
  database_to_xml database_to_xmlschema database_to_xml_and_xmlschema ts_stat nextval setval loread lowrite
  connectby xpath_table`),
]);

/** Whole families of them; a name that begins so is not looked up further. */
export const primaryPrefixes: readonly string[] = [
  ...nodeFunctionPrefixes,
  'lo_',
  'dblink',
  'pg_advisory_',
  'pg_try_advisory_',
  'pg_stat_',
  'pg_logical_',
  'pg_replication_',
  'pg_create_',
  'pg_drop_',
  'pg_copy_',
  'pg_backup_',
  'pg_start_backup',
  'pg_stop_backup',
  'pg_switch_',
  'pg_wal_replay_',
  'pg_current_wal_',
  'binary_upgrade_',
  // contrib/tablefunc: crosstab2, crosstab3, ...
  'crosstab',
];

/** Volatile built-ins without any effect, whose answer is as good from a replica. */
export const harmlessVolatile: ReadonlySet<string> = words(`
  random random_normal array_sample array_shuffle clock_timestamp timeofday gen_random_uuid uuidv4 uuidv7
  pg_sleep pg_sleep_for pg_sleep_until
  pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_database_size pg_tablespace_size
  pg_partition_tree pg_partition_ancestors pg_jit_available pg_collation_actual_version
  pg_database_collation_actual_version pg_xact_commit_timestamp pg_get_multixact_members amvalidate
  pg_timezone_names pg_timezone_abbrevs`);

/** The same from extensions that ship with PostgreSQL; believed only where the function is written in C. */
export const harmlessExtension: ReadonlySet<string> = words(`
  uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4 gen_random_bytes gen_salt gen_random_uuid
  pgp_sym_encrypt pgp_sym_encrypt_bytea pgp_pub_encrypt pgp_pub_encrypt_bytea show_limit show_trgm`);

/** Settings whose value is that of one node or of the running transaction; current_setting() of them is for the primary. */
export const nodeSettings: ReadonlySet<string> = words(`
  in_hot_standby transaction_read_only transaction_isolation transaction_deferrable port listen_addresses
  data_directory config_file hba_file ident_file primary_conninfo primary_slot_name cluster_name
  synchronous_standby_names hot_standby archive_mode wal_level max_connections`);

/** Of relations, whatever their argument says: an oid, an index of a table ... */
export const sizeFunctions: ReadonlySet<string> = words(
  'pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size',
);

/** Functions whose first argument names a relation as text. */
export const relationNameFunctions: ReadonlySet<string> = words(`
  to_regclass pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_get_serial_sequence
  pg_relation_filenode pg_relation_filepath`);

/** Built-in functions that read at most: SQL's own syntax turns into some of these, whatever the server's version has. */
export const knownReads: ReadonlySet<string> = words(`
  abbrev abs acos acosd acosh age any_value area array_agg array_append array_cat array_dims array_fill array_length
  array_lower array_ndims array_position array_positions array_prepend array_remove array_replace array_reverse
  array_sort array_to_json array_to_string array_to_tsvector array_upper ascii asin asind
  asinh atan atan2 atan2d atand atanh avg bit_and bit_count bit_length bit_or bit_xor bool_and bool_or bound_box box
  broadcast btrim cardinality casefold cbrt ceil ceiling center char_length character_length chr circle
  col_description concat concat_ws convert convert_from convert_to corr cos cosd cosh cot cotd count covar_pop
  covar_samp crc32 crc32c cume_dist current_catalog current_database current_date current_role current_schema
  current_schemas current_time current_timestamp current_user date date_add date_bin date_part date_subtract
  date_trunc datemultirange daterange decode degrees dense_rank diagonal diameter div encode enum_first enum_last
  enum_range erf erfc every exp extract factorial family first_value float4 float8 floor format format_type gamma gcd
  generate_series generate_subscripts get_bit get_byte get_current_ts_config getdatabaseencoding grouping
  has_any_column_privilege has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege
  has_function_privilege has_language_privilege has_parameter_privilege has_schema_privilege has_sequence_privilege
  has_server_privilege has_table_privilege has_tablespace_privilege has_type_privilege height host hostmask
  inet_merge inet_same_family initcap int2 int4 int4multirange int4range int8 int8multirange int8range is_normalized
  isclosed isempty isfinite ishorizontal isopen isparallel isperp isvertical json_agg json_agg_strict
  json_array_elements json_array_elements_text json_array_length json_build_array json_build_object json_each
  json_each_text json_extract_path json_extract_path_text json_object json_object_agg json_object_agg_strict
  json_object_agg_unique json_object_agg_unique_strict json_object_keys json_populate_record json_populate_recordset
  json_strip_nulls json_to_record json_to_recordset json_to_tsvector json_typeof jsonb_agg jsonb_agg_strict
  jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each
  jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg
  jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict jsonb_object_keys jsonb_path_exists
  jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array
  jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz
  jsonb_populate_record jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls
  jsonb_to_record jsonb_to_recordset jsonb_to_tsvector jsonb_typeof justify_days justify_hours justify_interval lag
  last_value lcm lead left length lgamma like like_escape line ln localtime localtimestamp log log10 lower lower_inc
  lower_inf lpad lseg ltrim make_date make_interval make_time make_timestamp make_timestamptz masklen max md5 min
  min_scale mod mode multirange netmask network normalize notlike now npoints nth_value ntile nullif num_nonnulls
  num_nulls nummultirange numnode numrange obj_description octet_length overlaps overlay parse_ident path pclose
  percent_rank percentile_cont percentile_disc pg_char_to_encoding pg_client_encoding pg_collation_for
  pg_collation_is_visible pg_column_compression pg_column_is_updatable pg_column_size pg_conversion_is_visible
  pg_describe_object pg_encoding_max_length pg_encoding_to_char pg_filenode_relation pg_function_is_visible
  pg_get_constraintdef pg_get_expr pg_get_function_arg_default pg_get_function_arguments
  pg_get_function_identity_arguments pg_get_function_result pg_get_function_sqlbody pg_get_functiondef pg_get_indexdef
  pg_get_keywords pg_get_object_address pg_get_partition_constraintdef pg_get_partkeydef pg_get_ruledef
  pg_get_serial_sequence pg_get_statisticsobjdef pg_get_statisticsobjdef_columns
  pg_get_statisticsobjdef_expressions pg_get_triggerdef pg_get_userbyid pg_get_viewdef pg_has_role pg_identify_object
  pg_identify_object_as_address pg_index_column_has_property pg_index_has_property pg_indexam_has_property pg_lsn
  pg_opclass_is_visible pg_operator_is_visible pg_opfamily_is_visible pg_options_to_table pg_partition_root
  pg_relation_filenode pg_relation_filepath pg_relation_is_publishable pg_relation_is_updatable
  pg_sequence_parameters pg_size_bytes pg_size_pretty pg_snapshot_xip pg_snapshot_xmax pg_snapshot_xmin
  pg_statistics_obj_is_visible pg_table_is_visible pg_tablespace_databases pg_tablespace_location pg_trigger_depth
  pg_ts_config_is_visible pg_ts_dict_is_visible pg_ts_parser_is_visible pg_ts_template_is_visible pg_type_is_visible
  pg_typeof pg_visible_in_snapshot pg_wal_lsn_diff phraseto_tsquery pi plainto_tsquery point polygon popen position
  pow power querytree quote_ident quote_literal quote_nullable radians radius range_agg range_intersect_agg
  range_merge rank regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
  regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count regr_intercept regr_r2
  regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse right round row_number row_security_active row_to_json
  rpad rtrim scale session_user set_bit set_byte set_masklen setweight sha224 sha256 sha384 sha512 shobj_description
  sign similar_escape similar_to_escape sin sind sinh slope split_part sqrt starts_with statement_timestamp stddev
  stddev_pop stddev_samp string_agg string_to_array string_to_table strip strpos substr substring sum system_user tan
  tand tanh text time timestamp timestamptz timetz timezone to_ascii to_bin to_char to_date to_hex to_json to_jsonb
  to_number to_oct to_regclass to_regcollation to_regnamespace to_regoper to_regoperator to_regproc to_regprocedure
  to_regrole to_regtype to_regtypemod to_timestamp to_tsquery to_tsvector transaction_timestamp translate trim_array
  trim_scale trunc ts_debug ts_delete ts_filter ts_headline ts_lexize ts_parse ts_rank ts_rank_cd ts_token_type
  tsmultirange tsquery_phrase tsrange tstzmultirange tstzrange tsvector_to_array txid_snapshot_xip
  txid_snapshot_xmax txid_snapshot_xmin txid_visible_in_snapshot unicode_assigned unicode_version unistr unnest upper
  upper_inc upper_inf user uuid_extract_timestamp uuid_extract_version var_pop var_samp variance version
  websearch_to_tsquery width width_bucket xml_is_well_formed xml_is_well_formed_content xml_is_well_formed_document
  xmlagg xmlcomment xmlexists xmltext xmlvalidate xpath xpath_exists icu_unicode_version`);

/** PostgreSQL's own operators; while there is no catalog others are not trusted. */
export const builtinOperators: ReadonlySet<string> = words(`
  !! !~ !~* !~~ !~~* # ## #- #> #>> % & && &< &<| &> * *< *<= *<> *= *> *>= + - -> ->> -|- / < <-> << <<= <<| <= <>
  <@ <^ = > >= >> >>= >^ ? ?# ?& ?- ?-| ?| ?|| @ @-@ @> @? @@ @@@ ^ ^@ | |&> |/ |>> || ||/ ~ ~* ~<=~ ~<~ ~= ~>=~ ~>~
  ~~ ~~* !=`);

/** System views and tables that describe one node or its sessions. */
export const nodeRelations: ReadonlySet<string> = words(`
  pg_locks pg_settings pg_file_settings pg_hba_file_rules pg_ident_file_mappings pg_replication_slots
  pg_replication_origin_status pg_prepared_xacts pg_shmem_allocations pg_shmem_allocations_numa
  pg_backend_memory_contexts pg_aios pg_config`);
export const nodeRelationPrefixes: readonly string[] = ['pg_stat_', 'pg_statio_'];

/** Those that describe this connection, or what runs ahead on a replica. */
export const primaryRelations: ReadonlySet<string> = words('pg_prepared_statements pg_cursors pg_sequences');
